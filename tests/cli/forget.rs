//! Forget, pin and prune as they are typed.

use crate::fixture::Fixture;

/// Three snapshots of one name, each with a file of its own.
fn three() -> Fixture {
    let fixture = Fixture::new();
    fixture.shell("mkdir d");
    for number in ["1", "2", "3"] {
        fixture.shell(&format!("head -c 300000 /dev/urandom > d/f{number}"));
        fixture.ok(&["ingest", "d", "--name", "d"]);
    }
    fixture
}

#[test]
fn rules_say_why_and_pins_stay() {
    let fixture = three();
    fixture.ok(&["pin", "d~2"]);
    let listed = fixture.json(&["pin"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let dry = fixture.json(&["forget", "--keep-last", "1", "--dry-run"]);
    assert_eq!((&dry["kept"], &dry["forgotten"]), (&2.into(), &1.into()));
    assert_eq!(dry["snapshots"][0]["reasons"][0], "pinned");
    assert_eq!(dry["snapshots"][1]["reasons"][0], "no rule keeps it");
    assert_eq!(dry["snapshots"][2]["reasons"][0], "last 1");
    assert_eq!(fixture.snapshots(), 3);
    let done = fixture.json(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    assert!(done["prune"]["removed"]["packs"].as_u64().unwrap() > 0);
    assert_eq!(fixture.snapshots(), 2);
    let refused = fixture.fails(4, &["forget", "d~1"]);
    assert!(
        refused.contains("is pinned") && refused.contains("--unpin"),
        "{refused}"
    );
    fixture.ok(&["forget", "--unpin", "d~1"]);
    assert_eq!(fixture.snapshots(), 1);
    assert_eq!(fixture.json(&["pin"]).as_array().unwrap().len(), 0);
    fixture.ok(&["prune"]);
    fixture.ok(&["check", "--read-data"]);
    fixture.shell("$REPO restore d --target back && diff -r d back");
}

#[test]
fn nothing_to_go_by_is_a_usage_error() {
    let fixture = three();
    for args in [
        &["forget"] as &[&str],
        &["forget", "d", "--keep-last", "1"],
        &["forget", "--unpin"],
        &["forget", "--keep-within", "soon"],
        &["forget", "--keep-last", "1", "--group-by", "colour"],
        &["prune", "--max-unused", "101%"],
        &["pin", "--remove"],
    ] {
        fixture.fails(2, args);
    }
    assert_eq!(fixture.snapshots(), 3);
}

#[test]
fn a_key_that_may_only_ingest_neither_forgets_nor_prunes() {
    let fixture = three();
    fixture.ok(&[
        "key",
        "add",
        "--role",
        "ingest",
        "--new-key-file",
        "host.key",
    ]);
    for args in [
        &["forget", "d"] as &[&str],
        &["forget", "--keep-last", "1"],
        &["prune"],
        &["pin", "d"],
    ] {
        let said = fixture.fails(1, &[args, &["--key-file", "host.key"]].concat());
        assert!(said.contains("may only ingest"), "{args:?}: {said}");
    }
    assert_eq!(fixture.snapshots(), 3);
}

/// What a dry run says that would be freed is what is freed then.
#[test]
fn a_dry_run_foresees_what_forgetting_and_pruning_would_free() {
    let fixture = three();
    let args = [
        "forget",
        "--keep-last",
        "1",
        "--prune",
        "--max-unused",
        "100%",
    ];
    fixture.shell("rm d/*; head -c 300000 /dev/urandom > d/f4");
    fixture.ok(&["ingest", "d", "--name", "d"]);
    let foreseen = fixture.json(&[&args[..], &["--dry-run"]].concat());
    assert_eq!(fixture.snapshots(), 4);
    let gained = &foreseen["prune"]["gained_bytes"];
    assert!(gained.as_u64().unwrap() > 900_000, "{foreseen}");
    assert_eq!(foreseen["prune"]["snapshots"], 1);
    let shown = fixture.ok(&[&args[..], &["--dry-run"]].concat());
    assert!(shown.contains("would free"), "{shown}");
    let done = fixture.json(&args);
    assert_eq!(&done["prune"]["removed"]["bytes"], gained, "{done}");
    assert_eq!(
        done["prune"]["removed"]["packs"],
        foreseen["prune"]["unneeded"]["packs"]
    );
}
