//! To be filled within the hour.
