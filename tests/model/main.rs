//! The protocol of docs/durability.md, explored: every order of the steps of several writers, pruners, a reader and forgets, with a
//! death of each at every step. Then each mistake that it guards against: the explorer must find what that one does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and these say how much they explored"
)]

mod actors;
mod alike;
mod alone;
mod copying;
mod explore;
mod index;
mod mistakes;
mod order;
mod world;

use explore::{Model, explore};
use index::IndexWorld;
use order::Order;
use world::{Design, Policy, World};

/// Two packs that share a chunk, two snapshots, one of each participant.
const SMALL: World = World {
    packs: &[0b11, 0b10],
    unindexed: 0,
    snapshots: &[0b11, 0b10],
    writers: &[0b11],
    pruners: 1,
    reader: Some(0),
    forgets: 1,
    open_plan: 0,
    open_record: true,
    design: Design::Alone,
    policy: Policy::Sensible,
    order: Order::ALONE,
    slip: None,
    expect: None,
};

/// A plan of a pruner that died condemns a pack that a snapshot needs again. Pruners only execute.
const OPEN_PLAN: World = World {
    packs: &[0b01, 0b10],
    snapshots: &[0b01, 0b10],
    writers: &[0b01],
    pruners: 2,
    reader: None,
    open_plan: 0b01,
    policy: Policy::Nothing,
    ..SMALL
};

/// Two pruners, two packs with the same chunk.
const COPIES: World = World {
    packs: &[0b1, 0b1],
    snapshots: &[0b1],
    writers: &[],
    pruners: 2,
    reader: None,
    ..SMALL
};

fn holds<M: Model>(name: &str, world: &M) {
    let found = explore(world);
    println!(
        "{name}: {} states, {} steps, depth {}",
        found.states, found.steps, found.depth
    );
    if let Some((fault, way)) = found.fault {
        panic!("{name}: {fault:?} after\n  {}", way.join("\n  "));
    }
}

/// The same world in the other design.
fn copying(world: World) -> World {
    World {
        design: Design::Copying,
        order: Order::COPYING,
        ..world
    }
}

#[test]
fn holds_with_two_writers_two_pruners_a_reader_and_a_forget() {
    let world = World {
        packs: &[0b1],
        snapshots: &[0b1],
        writers: &[0b1, 0b1],
        pruners: 2,
        ..SMALL
    };
    holds("everybody", &world);
}

#[test]
fn holds_with_packs_that_share_a_chunk() {
    let reader = World {
        pruners: 2,
        ..SMALL
    };
    holds("a writer, two pruners, a reader", &reader);
}

#[test]
#[ignore = "takes minutes and gigabytes: for the long suite"]
fn holds_with_packs_that_share_a_chunk_and_two_writers() {
    let same = World {
        writers: &[0b11, 0b11],
        pruners: 2,
        reader: None,
        ..SMALL
    };
    holds("two writers alike, two pruners", &same);
    let others = World {
        writers: &[0b11, 0b10],
        ..same
    };
    holds("two writers, two pruners", &others);
}

#[test]
fn holds_whatever_plans_condemn() {
    let two_writers = World {
        packs: &[0b011, 0b110],
        snapshots: &[0b011, 0b110],
        writers: &[0b011, 0b110],
        policy: Policy::Anything,
        ..SMALL
    };
    holds("any plan", &two_writers);
    let two_pruners = World {
        pruners: 2,
        reader: None,
        policy: Policy::AnyOne,
        ..SMALL
    };
    holds("any plans of two pruners", &two_pruners);
    let nobody_else = World {
        forgets: 1,
        policy: Policy::Anything,
        ..COPIES
    };
    holds("any plans of two pruners and nobody else", &nobody_else);
}

#[test]
fn holds_with_a_plan_that_somebody_left_open() {
    for open_record in [false, true] {
        let world = World {
            reader: Some(0),
            forgets: 2,
            open_record,
            ..OPEN_PLAN
        };
        holds("open plan", &world);
    }
}

#[test]
fn holds_with_a_pack_that_a_dead_writer_left() {
    let world = World {
        packs: &[0b01, 0b11],
        unindexed: 0b10,
        snapshots: &[0b01],
        writers: &[0b11, 0b10],
        policy: Policy::Anything,
        ..SMALL
    };
    holds("pack without an index object", &world);
}

#[test]
fn holds_with_many_executors_if_they_copy() {
    let two_pruners = World {
        pruners: 2,
        reader: None,
        policy: Policy::AnyOne,
        ..SMALL
    };
    holds("copying, two pruners", &copying(two_pruners));
    let reader = World {
        reader: Some(0),
        ..OPEN_PLAN
    };
    holds("copying, open plan", &copying(reader));
    let two_writers = World {
        writers: &[0b11, 0b10],
        policy: Policy::Anything,
        ..SMALL
    };
    holds("copying, two writers", &copying(two_writers));
}

#[test]
fn every_mistake_is_found() {
    for (name, world, expected) in mistakes::all() {
        let world = World {
            expect: Some(expected),
            ..world
        };
        let found = explore(&world);
        let Some((fault, way)) = found.fault else {
            panic!("{name}: {} states and nothing wrong", found.states);
        };
        println!(
            "{name}: {fault:?} after {} steps, {} states",
            way.len(),
            found.states
        );
        assert_eq!(fault, expected, "{name}:\n  {}", way.join("\n  "));
    }
}

#[test]
fn the_index_names_what_stays() {
    for executors in [&[0b01][..], &[0b01, 0b10], &[0b01, 0b01], &[0b11, 0b10]] {
        let world = IndexWorld {
            executors,
            slip: None,
        };
        holds(&format!("index, {executors:?} deleted"), &world);
    }
}

#[test]
fn every_mistake_with_the_index_is_found() {
    for (slip, expected) in [
        (index::Slip::RemoveFirst, index::Fault::Unnamed),
        (index::Slip::RemoveUnread, index::Fault::Unnamed),
        (index::Slip::GoneIsNothing, index::Fault::Missed),
        (index::Slip::TrustListing, index::Fault::Missed),
    ] {
        let found = explore(&IndexWorld {
            executors: &[0b01, 0b10],
            slip: Some(slip),
        });
        let fault = found.fault.map(|(fault, _)| fault);
        assert_eq!(fault, Some(expected), "{slip:?}");
    }
}
