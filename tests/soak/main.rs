//! Everything at once, by real processes that are killed at random moments: changing directories and archives taken in, forgotten, pruned, copied,
//! mounted, restored, exported, checked; keys added, changed and rotated; catalogs deleted. After each round every byte is
//! checked, and every snapshot that is there is what went in.
//!
//! `SOAK_SEED` chooses what is done, `SOAK_ROUNDS` or `SOAK_MINUTES` how long; `scripts/soak` sets them. The same seed does the same operations in
//! the same order. When they meet each other, and how far one is when it is killed, is the machine's affair.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and a long one says how far it is"
)]

mod actors;
mod dice;
mod judge;
mod place;

use std::time::{Duration, Instant};

use actors::Actor;
use dice::Dice;
use judge::Judge;
use place::Place;

/// Actors of a round.
const FEWEST: u64 = 6;
const MOST: u64 = 12;

/// What ends a soak.
enum Until {
    Rounds(u64),
    Time(Duration),
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// As many rounds as a run of all tests has time for.
#[test]
fn a_short_soak() {
    let rounds = number("SOAK_ROUNDS").unwrap_or(3);
    soak(number("SOAK_SEED").unwrap_or(1), &Until::Rounds(rounds));
}

/// As long as it is told; see `scripts/soak`.
#[test]
#[ignore = "takes as long as it is told"]
fn a_long_soak() {
    let minutes = number("SOAK_MINUTES").unwrap_or(10);
    let until = match number("SOAK_ROUNDS") {
        Some(rounds) => Until::Rounds(rounds),
        None => Until::Time(Duration::from_mins(minutes)),
    };
    soak(number("SOAK_SEED").unwrap_or(1), &until);
}

fn soak(seed: u64, until: &Until) {
    println!("soak: SOAK_SEED={seed}");
    let began = Instant::now();
    let mut dice = Dice::new(seed);
    let place = Place::new(seed);
    let mut judge = Judge::default();
    let mut round = 0;
    loop {
        let over = match until {
            Until::Rounds(rounds) => round >= *rounds,
            Until::Time(time) => began.elapsed() >= *time,
        };
        if over {
            break;
        }
        place.change_sources(&mut dice);
        let actors: Vec<Actor> = (0..FEWEST + dice.below(MOST - FEWEST + 1))
            .map(|number| Actor::draw(number, &mut dice))
            .collect();
        let names: Vec<String> = actors.iter().map(ToString::to_string).collect();
        let what = format!("SOAK_SEED={seed}, round {round}: {}", names.join(", "));
        println!("{:>5} s  {what}", began.elapsed().as_secs());
        let known = judge.known();
        let done: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = actors
                .iter()
                .map(|actor| scope.spawn(|| actor.run(&place, &known, &what)))
                .collect();
            running
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect()
        });
        place.clean_up();
        for outcome in done {
            match outcome {
                Ok(ids) => judge.committed(ids),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        judge.look(&place, &what);
        round += 1;
    }
    Judge::finish(&place, &format!("SOAK_SEED={seed}, after {round} rounds"));
    println!(
        "soak: {round} rounds in {} s, {judge}",
        began.elapsed().as_secs()
    );
}
