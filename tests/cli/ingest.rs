//! What becomes a snapshot, and what never does.

use crate::fixture::Fixture;

#[test]
fn sources_are_known_by_their_content() {
    let fixture = Fixture::small();
    fixture.shell(
        "tar cf a.tar source; gzip -k a.tar; xz -k a.tar; mv a.tar.xz not-called-tar
         echo '-- MySQL dump 10' | gzip > dump.sql.gz; truncate -s 1M disk.img
         cp a.tar.gz renamed; echo text > text",
    );
    for (source, kind) in [
        ("a.tar", "tar"),
        ("a.tar.gz", "tar"),
        ("not-called-tar", "tar"),
        ("renamed", "tar"),
        ("dump.sql.gz", "db"),
        ("text", "dir"),
        ("disk.img", "dir"),
        ("source", "dir"),
    ] {
        assert_eq!(fixture.json(&["ingest", source])["kind"], kind, "{source}");
    }
    let disk = fixture.json(&["ingest", "disk.img", "--kind", "disk"]);
    assert_eq!(
        (&disk["kind"], &disk["bytes"]),
        (&"disk".into(), &(1 << 20).into())
    );
    assert_eq!(fixture.json(&["ingest", "a.tar.gz"])["name"], "a");
    assert_eq!(
        fixture.ok(&["cat", "dump.sql:dump.sql"]),
        "-- MySQL dump 10\n"
    );
    fixture.ok(&["ingest", "source", "text"]);
    assert_eq!(fixture.ok(&["ls", "source+text"]), "source/\ntext\n");
    let piped = fixture.shell("cat a.tar.gz | $REPO ingest --name piped");
    assert!(piped.contains("'piped' (tar)"), "{piped}");
    let substituted = fixture.shell("$REPO ingest <(echo x) --name sub");
    assert!(substituted.contains("'sub' (stream)"), "{substituted}");
    assert!(
        fixture
            .shell("$REPO ingest <(echo x)")
            .contains("'pipe' (stream)")
    );
}

#[test]
fn a_producer_counts_with_its_exit_status() {
    let fixture = Fixture::new();
    fixture.ok(&["ingest", "--name", "numbers", "--", "seq", "3"]);
    assert_eq!(fixture.ok(&["cat", "numbers:numbers"]), "1\n2\n3\n");
    let failing = [
        "ingest",
        "--name",
        "bad",
        "--",
        "sh",
        "-c",
        "seq 99999; echo oops >&2; exit 3",
    ];
    let said = fixture.fails(1, &failing);
    assert!(
        said.contains("oops") && said.contains("exit status 3"),
        "{said}"
    );
    let said = fixture.fails(1, &["ingest", "--", "no-such-program-here"]);
    assert!(said.contains("PATH"), "{said}");
    assert_eq!(fixture.snapshots(), 1);
    // Arguments may be secrets: they are kept nowhere.
    fixture.ok(&["ingest", "--", "echo", "password-in-argument"]);
    assert!(
        !fixture
            .ok(&["show", "latest", "--json"])
            .contains("password-in-argument")
    );
}

#[test]
fn nothing_becomes_a_snapshot_by_mistake() {
    let fixture = Fixture::small();
    fixture.shell("tar cf a.tar source; gzip -k a.tar; head -c 9000 a.tar > cut.tar; head -c 500 a.tar.gz > cut.tar.gz");
    assert!(fixture.fails(6, &["ingest"]).contains("empty"));
    for cut in ["cut.tar", "cut.tar.gz"] {
        let said = fixture.fails(3, &["ingest", cut]);
        assert!(
            said.contains("truncated") || said.contains("ends"),
            "{said}"
        );
    }
    fixture.fails(1, &["ingest", "no-such-file"]);
    fixture.fails(1, &["ingest", "a.tar", "--kind", "stack"]);
    for args in [
        ["ingest", "source", "--kind", "tar"],
        ["ingest", "source", "--exact", "--no-progress"],
        ["ingest", "a.tar", "--exclude", "x"],
        ["ingest", "a.tar", "source", "-"],
        ["ingest", "a.tar", "--qcow2", "qemu-img"],
        ["ingest", "a.tar", "--dry-run", "--no-progress"],
    ] {
        fixture.fails(2, &args);
    }
    assert_eq!(
        fixture.ok(&["ingest", "source", "--dry-run", "--exclude", "numbers"]),
        "would take 1 file, 1 directory, 1 other, 6 B\n"
    );
    assert_eq!(fixture.snapshots(), 1);
}

#[test]
fn warnings_are_printed_kept_and_make_code_7() {
    let fixture = Fixture::small();
    fixture.shell("tar cf a.tar source; printf 'garbage%.0s' $(seq 300) >> a.tar");
    let ran = fixture.run(&["ingest", "a.tar", "--name", "odd"]);
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.err.contains("repo: warning: "), "{ran:?}");
    assert!(ran.out.contains("repo show"), "{ran:?}");
    assert!(
        fixture
            .ok(&["show", "odd"])
            .contains("1 warning when it was taken")
    );
    let ran = fixture.run(&["ingest", "a.tar", "--json"]);
    let warning: serde_json::Value = serde_json::from_str(ran.err.lines().next().unwrap()).unwrap();
    assert_eq!((ran.code, &warning["level"]), (7, &"warning".into()));
}

#[test]
fn unchanged_files_are_not_read_and_a_lost_catalog_is_told() {
    let fixture = Fixture::small();
    fixture.shell("touch -d '1 hour ago' source/file source/sub/numbers");
    fixture.ok(&["ingest", "source"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    fixture.ok(&["ingest", "source"]);
    let again = fixture.json(&["ingest", "source"]);
    assert_eq!(
        (&again["unchanged_files"], &again["read_bytes"]),
        (&2.into(), &0.into())
    );
    std::fs::remove_dir_all(fixture.path("cache")).unwrap();
    let ran = fixture.run(&["snapshots"]);
    assert!(
        ran.code == 0 && ran.err.contains("catalog was rebuilt"),
        "{ran:?}"
    );
    assert_eq!(fixture.run(&["snapshots"]).err, "");
}

#[test]
fn an_interrupt_ends_what_waits_for_a_silent_stream() {
    let fixture = Fixture::new();
    fixture.shell("mkfifo silent");
    for what in ["< silent", "silent", "-- sleep 600"] {
        let ran = fixture.shell_run(&format!(
            "exec 8<> silent; $REPO ingest --name never {what} & pid=$!
             sleep 2; kill -TERM $pid; wait $pid",
        ));
        assert_eq!(ran.code, 1, "{what}: {ran:?}");
        assert!(
            ran.err.contains("interrupted") && ran.err.contains("hint: run the same"),
            "{ran:?}"
        );
    }
    fixture.shell("! pgrep -f '^sleep 600$'");
    assert_eq!(fixture.snapshots(), 0);
}

/// Opening a pipe without a writer waited where only a second signal ended it.
#[test]
fn a_pipe_that_nobody_fills_is_given_up_at_the_first_signal() {
    let fixture = Fixture::new();
    let ran = fixture
        .shell_run("mkfifo pipe; timeout --preserve-status -k 20 2 $REPO ingest pipe --name never");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("interrupted"), "{ran:?}");
    // Whoever comes late, and pauses, is waited for.
    fixture.shell(
        "(sleep 1; exec > pipe; sleep 1; echo a; sleep 1; echo b) & $REPO ingest pipe --name late",
    );
    assert_eq!(fixture.ok(&["cat", "late:late"]), "a\nb\n");
    let ran = fixture.shell_run("(sleep 1; : > pipe) & $REPO ingest pipe --name empty");
    assert_eq!(ran.code, 6, "{ran:?}");
    assert_eq!(fixture.snapshots(), 1);
}

/// A hard link was taken for the last version of its target: what GNU tar extracts is what counts.
#[test]
fn a_hard_link_is_what_its_target_was_where_the_link_stands() {
    let fixture = Fixture::new();
    let script = r#"
import io, tarfile
t = tarfile.open("a.tar", "w")
def file(name, content):
    i = tarfile.TarInfo(name); i.size = len(content); t.addfile(i, io.BytesIO(content))
def special(name, kind, target=""):
    i = tarfile.TarInfo(name); i.type = kind; i.linkname = target; i.mode = 0o755; t.addfile(i)
link = lambda name, target: special(name, tarfile.LNKTYPE, target)
file("x", b"v1 old"); link("y", "x"); file("x", b"v2 new!"); link("z", "x"); link("w", "y")
file("h", b"hhh"); link("hl", "h"); special("h", tarfile.DIRTYPE); file("h/below", b"b")
file("only", b"1"); link("alone", "only"); file("only", b"2")
file("c", b"one"); link("c1", "c"); link("c2", "c1"); file("c1", b"two"); link("c3", "c1"); link("c", "c2")
special("s", tarfile.SYMTYPE, "x"); link("sl", "s"); file("s", b"no link")
t.close()
"#;
    std::fs::write(fixture.path("make.py"), script).unwrap();
    fixture.shell(
        "python3 make.py; mkdir by-tar by-bsdtar; tar -C by-tar -xf a.tar; bsdtar -C by-bsdtar -xf a.tar
         $REPO ingest a.tar; $REPO restore a --target back
         list() { (cd $1; find . -mindepth 1 ! -type d -printf '%P %y %n %s %l\n' | sort); }
         for by in by-tar by-bsdtar; do diff -r --no-dereference $by back; diff <(list $by) <(list back); done
         $REPO export a --format tar -o - | cmp - a.tar",
    );
    for (name, content) in [
        ("y", "v1 old"),
        ("w", "v1 old"),
        ("z", "v2 new!"),
        ("hl", "hhh"),
    ] {
        assert_eq!(fixture.ok(&["cat", &format!("a:{name}")]), content);
    }
}

/// Such names hid `x~1`, places in `a`, and other snapshots' ids.
#[test]
fn a_name_cannot_be_taken_for_another_reference() {
    let fixture = Fixture::small();
    let id = fixture.json(&["snapshots"])[0]["id"].as_str().unwrap()[..8].to_owned();
    for name in ["x~1", "a:b", "..", ".x", "-x", "/x", &id] {
        let said = fixture.fails(2, &["ingest", "source", &format!("--name={name}")]);
        assert!(said.contains("--name"), "{name}: {said}");
    }
    fixture.shell(
        "mkdir '.a:b'; $REPO ingest '.a:b'; $REPO ls a_b; $REPO ingest source -n 20261126 -q",
    );
}

/// `--exact` did nothing there, and said nothing.
#[test]
fn an_exact_ingest_of_what_is_not_compressed_is_told() {
    let fixture = Fixture::small();
    fixture.shell("tar cf a.tar source");
    let ran = fixture.run(&["ingest", "a.tar", "--exact"]);
    assert!(
        ran.code == 0 && ran.err.contains("no compression"),
        "{ran:?}"
    );
    fixture.shell("$REPO export a --format original | cmp - a.tar");
}
