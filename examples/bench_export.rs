use std::io::{self, Read, Write};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let level: i32 = a[2].parse().unwrap();
    let threads: usize = a[3].parse().unwrap();
    let mut input = std::io::stdin().lock();
    let out = std::fs::File::create("/dev/stdout").unwrap();
    let _ = io::stderr().flush();
    let mut buf = vec![0; 1 << 20];
    match a[1].as_str() {
        "gzip" => {
            let mut w = repo::export::gzip::GzipWriter::new(out, level as u32, threads).unwrap();
            loop {
                let n = input.read(&mut buf).unwrap();
                if n == 0 {
                    break;
                }
                w.write_all(&buf[..n]).unwrap();
            }
            w.finish().unwrap();
        }
        "zstd" => {
            let mut w = repo::export::zst::ZstdWriter::new(out, level, threads).unwrap();
            loop {
                let n = input.read(&mut buf).unwrap();
                if n == 0 {
                    break;
                }
                w.write_all(&buf[..n]).unwrap();
            }
            w.finish().unwrap();
        }
        _ => panic!(),
    }
}
