//! Looking: which snapshot is meant, what is printed, and that it is valid JSON.

use crate::fixture::{Fixture, Ran};

#[test]
fn references() {
    let fixture = Fixture::small();
    fixture.shell("echo second > source/file");
    fixture.ok(&["ingest", "source", "--name", "small"]);
    fixture
        .shell("mkdir other; mkdir other/b; echo colon > other/b/file; echo path > other/b:file");
    fixture.ok(&["ingest", "other", "--name", "other"]);
    let cat = |place: &str| fixture.ok(&["cat", place]);
    assert_eq!(cat("small:file"), "second\n");
    assert_eq!(cat("small~1:file"), "hello\n");
    assert_eq!(cat("small~:file"), "hello\n");
    assert_eq!(
        cat("small:/sub/../file".replace("sub/../", "").as_str()),
        "second\n"
    );
    assert_eq!(cat("latest:b/file"), "colon\n");
    assert_eq!(cat("latest~2:file"), "hello\n");
    // A path may have colons, a name may not.
    assert_eq!(cat("other:b:file"), "path\n");
    fixture.fails(1, &["cat", "small:b:file"]);
    let all = fixture.json(&["snapshots"]);
    let id = all[1]["id"].as_str().unwrap();
    assert_eq!(cat(&format!("{id}:file")), "second\n");
    assert_eq!(cat(&format!("{}:file", &id[..8])), "second\n");
    for bad in ["small~9", "nothing", "ab", "small:nothing", "~1", ":file"] {
        let said = fixture.fails(1, &["ls", bad]);
        assert!(said.starts_with("repo: "), "{bad}: {said}");
    }
    fixture.fails(2, &["cat", "small:../file"]);
}

#[test]
fn everything_has_valid_json() {
    let fixture = Fixture::small();
    fixture.shell("chmod 600 source/file; echo new > source/new");
    let new = fixture.json(&["ingest", "source", "--name", "small", "--tag", "a=b"]);
    assert_eq!(
        (&new["kind"], &new["tags"]["a"]),
        (&"dir".into(), &"b".into())
    );
    assert!(new["read_bytes"].is_u64() && new["stored_bytes"].is_u64());
    let all = fixture.json(&["snapshots"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(
        fixture
            .json(&["snapshots", "--tag", "a"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        fixture
            .json(&["snapshots", "--kind", "dir"])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(fixture.json(&["show", "small"])["id"], new["id"]);
    let entries = fixture.json_lines(&["ls", "-R", "small"]);
    let paths: Vec<_> = entries
        .iter()
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["file", "link", "new", "sub", "sub/numbers"]);
    assert_eq!(entries[1]["target"], "file");
    let found = fixture.json_lines(&["find", "numb*"]);
    assert_eq!((found.len(), &found[1]["snapshot"]), (2, &new["id"]));
    let changes = fixture.json_lines(&["diff", "small~1", "small"]);
    let changes: Vec<_> = changes
        .iter()
        .map(|c| (c["change"].as_str().unwrap(), c["path"].as_str().unwrap()))
        .collect();
    assert_eq!(changes, [("metadata", "file"), ("added", "new")]);
    let stats = fixture.json(&["stats"]);
    assert_eq!(stats["snapshots"], 2);
    assert!(fixture.json(&["check"])["sound"].as_bool().unwrap());
    assert!(
        fixture.json(&["check", "--no-key"])["sound"]
            .as_bool()
            .unwrap()
    );
    assert_eq!(fixture.json(&["key", "list"])[0]["kind"], "key-file");
    let restored = fixture.json_lines(&["restore", "small", "--target", "back"]);
    assert_eq!(restored.last().unwrap()["files"], 3);
    let error = fixture.fails(1, &["show", "nothing", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    assert_eq!(
        (&error["class"], &error["exit_code"]),
        (&"not-found".into(), &1.into())
    );
}

#[test]
fn names_are_exact_for_programs_and_harmless_for_terminals() {
    let fixture = Fixture::new();
    fixture.shell(r"mkdir source; cd source; touch $'esc\x1b[31m' $'line\nbreak' $'bytes\xff\xfe' 'back\slash'");
    fixture.ok(&["ingest", "source"]);
    let shown = fixture.ok(&["ls"]);
    assert_eq!(
        shown,
        "back\\\\slash\nbytes\\xff\\xfe\nesc\\u{1b}[31m\nline\\nbreak\n"
    );
    assert_eq!(
        fixture.shell("$REPO ls --null | sort -z | sha256sum"),
        fixture.shell("cd source; find . -mindepth 1 -printf '%P\\0' | sort -z | sha256sum")
    );
    let lines = fixture.json_lines(&["ls", "latest"]);
    assert_eq!(lines[1]["path_hex"], "6279746573fffe");
    assert!(lines[0].get("path_hex").is_none());
    fixture.shell("$REPO cat $'latest:bytes\\xff\\xfe'");
}

#[test]
fn what_is_not_there_is_said_so() {
    let fixture = Fixture::small();
    fixture.fails(6, &["find", "nothing-like-this"]);
    assert!(
        fixture
            .fails(1, &["cat", "small:sub"])
            .contains("is a directory")
    );
    assert!(
        fixture
            .fails(1, &["cat", "small:link"])
            .contains("symbolic link to 'file'")
    );
    assert!(
        fixture
            .fails(6, &["show", "small", "--identity"])
            .contains("no description")
    );
    assert!(
        fixture
            .fails(2, &["show", "small:file"])
            .contains("whole snapshots")
    );
    let long = fixture.ok(&["ls", "-l", "small"]);
    assert!(
        long.contains("link -> file") && long.starts_with("-rw"),
        "{long}"
    );
    assert!(
        fixture
            .ok(&["show", "small"])
            .contains("  dir (directory)\n")
    );
}

#[test]
fn places_that_are_no_repository() {
    let fixture = Fixture::empty();
    let said = fixture.fails(1, &["snapshots"]);
    assert!(
        said.contains("there is no repository at") && said.contains("repo init"),
        "{said}"
    );
    fixture.shell("echo text > file; mkdir foreign; echo '{}' > foreign/config; touch key");
    for place in ["file", "foreign", "gopher://host/x", ""] {
        let said = fixture.run(&["snapshots", "--repo", place]);
        assert!(
            matches!(said.code, 1..=3) && said.out.is_empty(),
            "{place}: {said:?}"
        );
    }
    let said = fixture.fails(1, &["init", "--repo", "file", "--key-file-out", "new-key"]);
    assert!(said.contains("file"), "{said}");
    let fixture = Fixture::new();
    assert!(fixture.fails(1, &["init"]).contains("already"));
    fixture.shell("sed -i 's/\"version\": 1/\"version\": 99/' repository/config || true");
    let config = std::fs::read_to_string(fixture.path("repository/config")).unwrap();
    std::fs::remove_file(fixture.path("repository/config")).unwrap();
    let later = config.replace("\"version\": 1", "\"version\": 99");
    std::fs::write(fixture.path("repository/config"), later).unwrap();
    let said = fixture.fails(1, &["snapshots"]);
    assert!(
        said.contains("version 99") && said.contains("newer"),
        "{said}"
    );
}

#[test]
fn a_catalog_that_cannot_be_kept_is_told_with_the_reason() {
    let fixture = Fixture::small();
    fixture.shell("rm -r cache; touch file");
    let said = |cache: &str| {
        let mut command = fixture.command(&["snapshots"]);
        let ran = Ran::of(command.env("REPO_CACHE_DIR", fixture.path(cache)));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.err
    };
    for _ in 0..2 {
        let said = said("file");
        let file = fixture.path("file").display().to_string();
        assert!(
            said.contains("cannot be kept") && said.contains(&file),
            "{said}"
        );
        assert!(said.contains("--cache-dir"), "{said}");
    }
    assert!(said("cache").contains("1 index object, 2 packs"));
    assert_eq!(said("cache"), "");
}

#[test]
fn a_snapshot_with_one_file_alone_means_that_file_to_cat() {
    let fixture = Fixture::small();
    fixture.shell("seq 1000 > numbers; $REPO ingest - --name piped < numbers");
    let numbers = std::fs::read_to_string(fixture.path("numbers")).unwrap();
    assert_eq!(fixture.ok(&["cat", "piped"]), numbers);
    assert_eq!(fixture.ok(&["cat", "latest"]), numbers);
    fixture.fails(1, &["cat", "small"]);
}

/// A forget and prune took away what a long listing had not come to yet.
#[test]
fn what_is_listed_stays_until_the_listing_ends() {
    let fixture = Fixture::new();
    // More than a pipe holds: whoever lists it waits for its reader.
    fixture.shell(
        "mkdir -p d/sub e; cd d; name=$(printf 'x%.0s' $(seq 100))
         for i in $(seq 2000); do : > $name$i; mkdir -p sub/$((i / 50)); echo $i > sub/$((i / 50))/$name$i; done",
    );
    fixture.ok(&["ingest", "e", "--name", "other"]);
    for list in ["ls -R big", "find '*' --snapshot big", "diff other big"] {
        fixture.ok(&["ingest", "d", "--name", "big"]);
        let seen = fixture.shell(&format!(
            "$REPO {list} 2>said | {{ head -c 1 > /dev/null; ls repository/sessions | wc -l
             $REPO forget big --prune --max-unused 0 -q >&2; wc -l; }}; echo ${{PIPESTATUS[0]}}"
        ));
        let seen: Vec<u64> = seen.lines().map(|line| line.parse().unwrap()).collect();
        assert!(
            matches!(seen[..], [1, lines, 0] if lines >= 4000),
            "{list}: {seen:?}"
        );
    }
}
