//! Reading tar archives of every dialect.

mod header;
mod number;

pub use header::is_header;
