//! A store that lies: whoever can write to it, and has no key, drops, swaps, cuts, extends, splices and replays objects, or puts in
//! whatever else. Every command ends by itself with an exit code that says what is wrong, and nothing wrong ever comes out: a file is
//! its source byte for byte, or is reported as lost. Damage of single objects as the library sees it is in `tests/damage`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what to repeat"
)]

#[path = "../fixture/mod.rs"]
mod fixture;
mod judge;
mod junk;
mod mischief;
mod mounted;
mod openers;
mod sample;

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use judge::Victim;
use mischief::{AREAS, Dice, boundaries, objects, put, tamper};
use sample::{copy, sample};

/// A seed of this run, or the one that is asked for: it is printed, so that a failure can be repeated.
fn seed() -> u64 {
    let asked = std::env::var("REPO_HOSTILE_SEED").ok();
    asked.map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos())
        },
        |seed| seed.parse().unwrap(),
    )
}

/// Some things at once, in some order, for a client that knew the repository or not.
fn round(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut victim = Victim::new(sample(), "");
    let cold = dice.below(2) == 0;
    let mut done = vec![format!("REPO_HOSTILE_SEED={seed} cold: {cold}")];
    for _ in 0..=dice.below(3) {
        done.push(tamper(&victim, &mut dice));
    }
    victim.case = done.join("; ");
    println!("{}", victim.case);
    if cold {
        victim.forget_catalog();
    }
    victim.judge();
}

#[test]
fn any_mischief_with_objects_is_found_and_hands_out_nothing_wrong() {
    let first = seed();
    for seed in first..first + 6 {
        round(seed);
    }
}

#[test]
#[ignore = "takes ten minutes: part of scripts/soak"]
fn much_more_mischief() {
    let first = seed();
    for seed in first..first + 300 {
        round(seed);
    }
}

#[test]
fn objects_that_end_at_any_boundary_are_found() {
    for area in AREAS {
        let mut victim = Victim::new(sample(), "");
        let object = objects(&victim.repository(), area).remove(0);
        let whole = fs::read(&object).unwrap();
        for (turn, len) in boundaries(whole.len()).into_iter().enumerate() {
            victim.case = format!("{} cut to {len} of {}", object.display(), whole.len());
            put(&object, &whole[..len]);
            let checked = victim.run(&["check", "--read-data"]);
            let expected = if area == "index" { 7 } else { 3 };
            assert_eq!(checked.code, expected, "{}", victim.case);
            if turn % 4 == 0 {
                victim.forget_catalog();
                victim.restored();
            }
        }
    }
}

/// That it is an older state cannot be known; but it is one, and a client that knew more is not misled.
#[test]
fn an_older_state_is_right_in_itself() {
    let sample = sample();
    let victim = Victim::new(
        sample,
        "an older state, and a client that knew the newer one",
    );
    fs::remove_dir_all(victim.repository()).unwrap();
    copy(&sample.root.join("older"), &victim.repository());
    let checked = victim.run(&["check", "--read-data"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert_eq!(victim.restored().len(), 4);
    victim.judge();
}

#[test]
fn states_of_different_times_do_not_mix() {
    let sample = sample();
    let mut dice = Dice::new(seed());
    let mut older: Vec<usize> = (1..15).collect();
    for _ in 0..3 {
        let mask = older.swap_remove(dice.below(older.len()));
        let areas = AREAS
            .iter()
            .enumerate()
            .filter(|(at, _)| mask >> at & 1 == 1);
        let areas: Vec<&str> = areas.map(|(_, area)| *area).collect();
        let victim = Victim::new(sample, &format!("older: {areas:?}"));
        for area in areas {
            fs::remove_dir_all(victim.repository().join(area)).unwrap();
            copy(&sample.root.join("older").join(area), &victim.repository());
        }
        victim.judge();
    }
}

#[test]
fn objects_of_another_repository_with_the_same_key_are_none() {
    let sample = sample();
    let victim = Victim::new(sample, "all objects of another repository are added");
    for area in AREAS {
        let from = sample.root.join("other");
        for object in objects(&from, area) {
            let to = victim
                .repository()
                .join(object.strip_prefix(&from).unwrap());
            put(&to, &fs::read(object).unwrap());
        }
    }
    assert_eq!(victim.restored().len(), victim.all());
    victim.judge();

    let victim = Victim::new(sample, "all objects are those of another repository");
    for area in AREAS {
        fs::remove_dir_all(victim.repository().join(area)).unwrap();
        copy(&sample.root.join("other").join(area), &victim.repository());
    }
    assert_eq!(victim.restored().len(), 0);
    let checked = victim.run(&["check", "--read-data"]);
    assert_eq!(checked.code, 3, "{}", checked.err);
}
