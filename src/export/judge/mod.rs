//! What the tests of all formats share: other programs as judges, and content to give them.

mod trees;

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) use trees::{bare, file, path, sparse, tree};

/// What a program makes of `input`. A program that is missing or fails fails the test.
pub(super) fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that has seen enough may close its end.
            let _ = stdin.write_all(input);
        });
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        output.stdout
    })
}

/// What a program prints when run in a directory; both of its outputs, and it must succeed.
pub(super) fn run(at: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(at)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// Bytes without any pattern (a fixed sequence).
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes that compress about as text does.
pub(super) fn text(len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = [
        "fn ", "return ", "while ", "(size)", " = 0x", ";\n", "    ", "struct ",
    ];
    let mut text = Vec::with_capacity(len + 16);
    for byte in noise(len) {
        if text.len() >= len {
            break;
        }
        text.extend_from_slice(WORDS[usize::from(byte & 7)].as_bytes());
        text.push(b'a' + (byte >> 3) % 26);
    }
    text.truncate(len);
    text
}

/// A writer that has room for that many bytes.
pub(super) struct Full(pub(super) usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
