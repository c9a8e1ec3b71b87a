//! What a tired operator gets wrong: every mistake has its exit code, says what is wrong, and what to do.

use crate::fixture::{Fixture, Ran};

/// `repo snapshots --name nosuch` said "no snapshot matches" and ended with 0.
#[test]
fn a_filter_that_matches_nothing_is_no_data() {
    let fixture = Fixture::small();
    for filter in [["--name", "nosuch"], ["--tag", "nosuch"], ["--kind", "vm"]] {
        let said = fixture.fails(6, &["snapshots", filter[0], filter[1]]);
        assert!(said.contains("'small' (1)"), "what there is: {said}");
    }
    let ran = fixture.run(&["snapshots", "--name", "nosuch", "--json"]);
    assert_eq!((ran.code, ran.out.as_str()), (6, "[]\n"), "{ran:?}");
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["class"], "no-data");
    // Without a filter there is nothing wrong with an empty repository.
    let empty = Fixture::new();
    assert!(empty.run(&["snapshots"]).err.contains("repo ingest"));
    let said = empty.fails(6, &["snapshots", "--name", "x"]);
    assert!(said.contains("repo ingest"), "{said}");
}

/// `repo ingest --tag noeq` made a tag with an empty value.
#[test]
fn a_tag_without_a_value_is_refused() {
    let fixture = Fixture::small();
    for tag in ["noeq", "=value", ""] {
        let said = fixture.fails(2, &["ingest", "source", "--tag", tag]);
        assert!(said.contains("KEY=VALUE"), "{said}");
    }
    fixture.ok(&["ingest", "source", "--tag", "empty=", "--tag", "a=b=c"]);
    let tags = &fixture.json(&["show", "latest"])["tags"];
    assert_eq!((&tags["empty"], &tags["a"]), (&"".into(), &"b=c".into()));
}

/// A stream whose first bytes look like an archive could not be taken in, and nothing said how.
#[test]
fn what_only_looks_like_an_archive_is_told_how_to_be_kept() {
    let fixture = Fixture::small();
    fixture.shell(
        "tar cf a.tar source
         { head -c 512 a.tar; head -c 20000 /dev/urandom; } > damaged
         printf 'x%.0s' $(seq 3000) > long; mkdir deep; touch deep/x
         tar cf odd.tar --transform 's,.*,../../up,' -P deep/x; head -c 700 a.tar > short",
    );
    for file in ["damaged", "short"] {
        let ran = fixture.shell_run(&format!("$REPO ingest --name {file} < {file}"));
        assert_eq!(ran.code, 3, "{file}: {ran:?}");
        assert!(ran.err.contains("'--kind stream'"), "{file}: {ran:?}");
        fixture.shell(&format!(
            "$REPO ingest --kind stream --name {file} < {file}"
        ));
        fixture.shell(&format!("$REPO cat {file}:{file} | cmp - {file}"));
    }
    let said = fixture.fails(1, &["ingest", "a.tar", "--kind", "stack"]);
    assert!(said.contains("'--kind tar'"), "{said}");
}

/// A qcow2 image does not come out as it was, whatever the hint said: it comes out as a raw image.
#[test]
fn the_hint_for_qcow2_with_exact_is_true() {
    let fixture = Fixture::new();
    fixture.shell("printf 'QFI\\xfb\\0\\0\\0\\3' > image; truncate -s 1M image");
    let said = fixture.fails(2, &["ingest", "image", "--exact"]);
    assert!(
        said.contains("raw") && said.contains("'--kind stream'"),
        "{said}"
    );
    let said = fixture.fails(2, &["ingest", "image", "--exact", "--kind", "disk"]);
    assert!(said.contains("raw"), "{said}");
    // The way that the hint shows leads there.
    fixture.ok(&["ingest", "image", "--kind", "stream"]);
    fixture.shell("$REPO cat image:image | cmp - image");
}

/// Mistakes whose message or code did not say what was wrong.
#[test]
fn mistakes_of_every_day_are_told_with_the_way_on() {
    let fixture = Fixture::small();
    let said = fixture.fails(2, &["ingest", ""]);
    assert!(said.contains("an empty SOURCE"), "{said}");
    let said = fixture.fails(4, &["restore", "small", "--target", "source/file"]);
    assert!(said.contains("is no directory"), "{said}");
    let said = fixture.fails(2, &["export", "small", "-o", "source"]);
    assert!(said.contains("--format dir"), "{said}");
}

/// A key file that opens nothing was left by a change that failed.
#[test]
fn a_key_that_could_not_be_changed_leaves_no_key_file() {
    let fixture = Fixture::small();
    fixture.ok(&["key", "add", "--role", "ingest", "--new-key-file", "host"]);
    let change = ["key", "change", "--new-key-file", "second"];
    let said = fixture.fails(1, &[&["--key-file", "host"], &change[..]].concat());
    assert!(said.contains("role ingest"), "{said}");
    assert!(!fixture.path("second").exists());
    fixture.ok(&change);
    fixture.ok(&["--key-file", "second", "snapshots"]);
}

/// A repository that could not be made left a key file that opens nothing, which was in the way of the next try.
#[test]
fn a_repository_that_could_not_be_made_leaves_no_key_file() {
    let fixture = Fixture::empty();
    fixture.shell("touch file");
    fixture.fails(
        1,
        &["init", "--repo", "file/inside", "--key-file-out", "new"],
    );
    assert!(!fixture.path("new").exists());
    let long = "x".repeat(5000);
    fixture.fails(1, &["init", "--key-file-out", "new", "--label", &long]);
    assert!(!fixture.path("new").exists());
    let mut init = fixture.command(&["init", "--key-file-out", "new"]);
    assert_eq!(Ran::of(init.env_remove("REPO_KEY_FILE")).code, 0);
}

/// The place had to be text, and a mount in the background was given it as an argument.
#[test]
fn a_repository_may_have_any_path() {
    let fixture = Fixture::small();
    let seen = fixture.shell(
        "place=$(printf 'r\\xff\\xfe'); mv repository \"$place\"; mkdir mnt
         export REPO_URL=\"$PWD/$place\"; $REPO ls small; REPO_URL= $REPO --repo \"$place\" cat small:file
         cd \"$place\"; $REPO --repo . mount ../mnt >&2; cat ../mnt/latest/file; $REPO umount ../mnt",
    );
    assert_eq!(seen, "file\nlink\nsub/\nhello\nhello\n");
}

/// A disk that was away was taken for a repository without snapshots, of which a prune left nothing.
#[test]
fn a_folder_that_is_away_is_not_empty() {
    let fixture = Fixture::small();
    fixture.shell("mkdir disk; mv repository/snapshots disk; ln -s $PWD/disk/snapshots repository");
    fixture.ok(&["cat", "small:file"]);
    fixture.shell("mv disk away");
    for args in [
        &["snapshots"][..],
        &["ls", "small"],
        &["prune"],
        &["ingest", "source"],
        &["check"],
    ] {
        let said = fixture.fails(1, args);
        assert!(said.contains("may be away"), "{args:?}: {said}");
    }
    fixture.shell("rm repository/snapshots");
    assert!(fixture.fails(1, &["prune"]).contains("may be away"));
    fixture.shell("mv away disk; ln -s $PWD/disk/snapshots repository; $REPO cat small:file");
    fixture.shell("mv repository/data disk; ln -s $PWD/nowhere repository/data; rm -r cache");
    fixture.fails(1, &["ls", "small"]);
}
