//! What goes out: archives, restored files, and what damage does to them.

use crate::fixture::Fixture;

#[test]
fn an_archive_comes_out_as_it_went_in() {
    let fixture = Fixture::small();
    fixture.shell("tar c source | tee a.tar | xz > a.tar.xz; $REPO ingest a.tar.xz --exact -q");
    fixture.shell(
        "$REPO export a --format tar | cmp - a.tar
         $REPO export a --format tar.gz | gunzip | cmp - a.tar
         $REPO export a --format tar.zst | zstd -dc | cmp - a.tar
         $REPO export a --format original | cmp - a.tar.xz
         $REPO export a -o out.tgz; gunzip -c out.tgz | cmp - a.tar
         $REPO export a:source/file --format raw | cmp - source/file
         $REPO export small --format tar | tar xO file | cmp - source/file
         $REPO export small --format tar --exclude file | tar t > list; ! grep -x file list
         $REPO export small --format zip -o a.zip; python3 -m zipfile -t a.zip
         $REPO export small --format dir -o dir; diff -r dir source",
    );
    fixture.fails(1, &["export", "small", "--format", "original"]);
    fixture.fails(2, &["export", "small", "--format", "raw"]);
    fixture.fails(2, &["export", "small", "-o", "what.format"]);
    fixture.fails(4, &["export", "small", "--format", "dir", "-o", "dir"]);
}

#[test]
fn files_are_private_complete_and_never_replaced_unasked() {
    let fixture = Fixture::small();
    fixture.shell("umask 000; $REPO export small -o out.tar.gz");
    assert_eq!(fixture.shell("stat -c %a out.tar.gz"), "600\n");
    let said = fixture.fails(4, &["export", "small", "-o", "out.tar.gz"]);
    assert!(said.contains("--force"), "{said}");
    fixture.ok(&["export", "small", "-o", "out.tar.gz", "--force"]);
    fixture.fails(1, &["export", "nothing", "-o", "none.tar"]);
    fixture.fails(1, &["export", "small", "-o", "no/such/folder.tar"]);
    let ran =
        fixture.shell_run("ulimit -f 4; trap '' XFSZ; $REPO export small:sub/numbers -o big.raw");
    assert_eq!(ran.code, 1, "{ran:?}");
    let left = fixture.shell("ls -A | grep -v -x -e cache -e home -e key -e repository -e source");
    assert_eq!(left, "out.tar.gz\n");
}

#[test]
fn on_a_terminal_an_export_names_its_file() {
    let fixture = Fixture::small();
    let shown = fixture.shell("script -qec '$REPO export --format tar.gz' /dev/null");
    let name = fixture.shell("ls small-*.tar.gz");
    assert!(shown.contains(&format!("wrote {}", name.trim())), "{shown}");
    fixture.shell("tar tzf small-*.tar.gz > list; grep -qx file list");
    let ran = fixture.shell_run("script -qec '$REPO export -o -' /dev/null");
    assert!(ran.code == 2 && ran.out.contains("terminal"), "{ran:?}");
}

#[test]
fn a_restore_never_replaces_unasked() {
    let fixture = Fixture::small();
    fixture.ok(&["restore", "small", "--target", "back"]);
    fixture.shell("diff -r back source");
    let said = fixture.fails(4, &["restore", "small", "--target", "back"]);
    assert!(said.contains("--overwrite"), "{said}");
    fixture.shell("echo mine > back/file; echo own > back/own");
    fixture.ok(&[
        "restore",
        "small",
        "--target",
        "back",
        "--overwrite",
        "never",
    ]);
    assert_eq!(fixture.shell("cat back/file"), "mine\n");
    let plan = fixture.ok(&[
        "restore",
        "small",
        "--target",
        "back",
        "-n",
        "--overwrite",
        "always",
    ]);
    assert!(
        plan.contains("replace    file") && plan.contains("would restore"),
        "{plan}"
    );
    assert_eq!(fixture.shell("cat back/file"), "mine\n");
    fixture.ok(&[
        "restore",
        "small",
        "--target",
        "back",
        "--overwrite",
        "always",
        "--verify",
    ]);
    assert_eq!(fixture.shell("cat back/file back/own"), "hello\nown\n");
    fixture.ok(&["restore", "small:sub", "small:file", "--target", "parts"]);
    assert_eq!(fixture.shell("ls parts"), "file\nsub\n");
    fixture.ok(&["restore", "small:sub/", "--target", "contents"]);
    assert_eq!(fixture.shell("ls contents"), "numbers\n");
    fixture.ok(&["restore", "small", "--target", "some", "--include", "num*"]);
    assert_eq!(fixture.shell("cd some; find . -type f"), "./sub/numbers\n");
}

#[test]
fn damage_is_code_3_and_names_what_is_hurt() {
    let fixture = Fixture::small();
    fixture.shell(
        "pack=$(find repository/data -type f); size=$(stat -c %s $pack); chmod u+w $pack
         printf x | dd of=$pack bs=1 seek=$((size / 2)) conv=notrunc status=none",
    );
    let ran = fixture.run(&["check", "--no-key"]);
    assert!(
        ran.code == 3 && ran.out.contains("damage: data/"),
        "{ran:?}"
    );
    let ran = fixture.run(&["check", "--read-data"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let hurt = ran
        .out
        .lines()
        .filter(|line| line.starts_with("hurt: "))
        .count();
    assert!(hurt > 0 && ran.out.contains("'small'"), "{ran:?}");
    let ran = fixture.run(&["cat", "small:file", "small:sub/numbers"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let ran = fixture.run(&["restore", "small", "--target", "back"]);
    assert!(ran.code == 3 && ran.err.contains("lost"), "{ran:?}");
    let ran = fixture.run(&["export", "small", "-o", "out.tar"]);
    assert!(
        ran.code == 3 && !fixture.path("out.tar").exists(),
        "{ran:?}"
    );
    let json = fixture.run(&["check", "--read-data", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["sound"], false);
    assert!(!json["harms"].as_array().unwrap().is_empty());
}

#[test]
fn patterns_that_match_nothing_are_told_and_leave_no_archive() {
    let fixture = Fixture::small();
    let said = fixture.fails(
        6,
        &["restore", "small", "--target", "none", "--include", "typo"],
    );
    assert!(said.contains("--include"), "{said}");
    for format in ["tar", "tar.gz", "zip", "dir"] {
        let args = ["export", "small", "-i", "typo", "-f", format, "-o", "out"];
        let said = fixture.fails(6, &args);
        assert!(said.contains("--include"), "{format}: {said}");
        fixture.shell("if [ -f out ]; then exit 1; fi; rm -rf out");
    }
    fixture.ok(&["export", "small", "-i", "file", "-f", "tar", "-o", "out"]);
    assert_eq!(fixture.shell("tar tf out file"), "file\n");
}

#[test]
fn a_level_that_a_format_does_not_have_is_a_usage_error() {
    let fixture = Fixture::small();
    for (format, level) in [
        ("zip", "99"),
        ("tar.gz", "10"),
        ("tar.zst", "0"),
        ("tar", "1"),
        ("raw", "1"),
        ("original", "1"),
        ("dir", "1"),
    ] {
        fixture.fails(
            2,
            &["export", "small", "-f", format, "-l", level, "-o", "out"],
        );
        assert!(!fixture.path("out").exists(), "{format}");
    }
    fixture.ok(&["export", "small", "-l", "9", "-o", "out.zip"]);
}

/// The description came in the order of names, which puts the disk before it, and the root after all.
#[test]
fn a_vm_archive_begins_with_its_description_and_has_only_files() {
    let fixture = Fixture::new();
    fixture.shell(
        r#"mkdir vm; cd vm; echo '{"version":1,"config":{"id":"1","name":"vm"}}' > snapshot.json
        truncate -s 1M cow.raw; echo x | dd of=cow.raw bs=1 seek=500000 conv=notrunc status=none
        echo memory > mem; echo later > zz; tar cf ../vm.tar zz mem snapshot.json cow.raw; cd ..
        $REPO ingest vm --name dir; $REPO ingest vm.tar --name tar; mkdir in; mv vm in; $REPO ingest in
        for place in dir tar in:vm/; do $REPO export $place -f cocoon -qo out.tar --force; tar tf out.tar; done > list
        $REPO export dir -f cocoon --exclude zz --exclude snapshot.json | tar t >> list
        $REPO ingest out.tar --name again --kind vm; $REPO cat again:cow.raw | cmp - in/vm/cow.raw"#,
    );
    let all = "snapshot.json\ncow.raw\nmem\nzz\n";
    assert_eq!(
        fixture.shell("cat list"),
        [all, all, all, "cow.raw\nmem\n"].concat()
    );
    for place in ["in", "in:vm"] {
        let said = fixture.fails(1, &["export", place, "-f", "cocoon", "-o", "none.tar"]);
        assert!(
            said.contains("no file at the top") && said.contains("--format tar"),
            "{said}"
        );
    }
    assert!(!fixture.path("none.tar").exists());
}
