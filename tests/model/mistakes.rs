//! What the protocol guards against, and what each does.

use crate::order::{Do, Order, Slip};
use crate::world::{Fault, Policy, World};
use crate::{COPIES, OPEN_PLAN, SMALL, copying};

fn writer(step: Do, before: Do) -> World {
    World {
        order: Order::ALONE.writer_does(step, before),
        ..SMALL
    }
}

fn pruner(step: Do, before: Do, world: World) -> World {
    World {
        order: world.order.pruner_does(step, before),
        ..world
    }
}

fn without(step: Do, world: World) -> World {
    World {
        order: world.order.executor_leaves_out(step),
        ..world
    }
}

fn slip(slip: Slip, world: World) -> World {
    World {
        slip: Some(slip),
        ..world
    }
}

fn two_pruners() -> World {
    World {
        pruners: 2,
        reader: None,
        ..SMALL
    }
}

/// A mistake, where it shows, and what comes of it.
pub(crate) type Mistake = (&'static str, World, Fault);

/// All of them.
pub(crate) fn all() -> Vec<Mistake> {
    let mut all = of_writers_and_readers();
    all.extend(of_pruners());
    all.extend(of_executors());
    all.extend(of_many_executors());
    all
}

fn of_writers_and_readers() -> Vec<Mistake> {
    vec![
        (
            "a writer lists the plans before it writes its session",
            writer(Do::ListPlans, Do::Session),
            Fault::Lost,
        ),
        (
            "a writer lists the packs before it lists the plans",
            writer(Do::ListPacks, Do::ListPlans),
            Fault::Lost,
        ),
        (
            "a writer uses packs that a plan condemns",
            slip(Slip::WriterUsesCondemned, SMALL),
            Fault::Lost,
        ),
        (
            "a writer writes its snapshot before its index object",
            writer(Do::Snapshot, Do::Index),
            Fault::Lost,
        ),
        (
            "a writer drops its session before it writes its snapshot",
            writer(Do::Leave, Do::Snapshot),
            Fault::Lost,
        ),
        (
            "a reader looks for its snapshot before it writes its session",
            World {
                order: Order::ALONE.reader_does(Do::Check, Do::Session),
                ..SMALL
            },
            Fault::Lost,
        ),
    ]
}

fn of_pruners() -> Vec<Mistake> {
    let planned_without_looking = World {
        policy: Policy::Sensible,
        ..COPIES
    };
    vec![
        (
            "the sessions are listed before the plan is written",
            World {
                order: Order::ALONE.pruner_lists_sessions_before_planning(),
                ..SMALL
            },
            Fault::Lost,
        ),
        (
            "a missing record is taken for an empty one",
            slip(Slip::MissingRecordIsEmpty, two_pruners()),
            Fault::Lost,
        ),
        (
            "the pruner's session ends before its plan is written",
            World {
                order: Order::ALONE.pruner_retires_before_planning(),
                ..planned_without_looking
            },
            Fault::Lost,
        ),
        (
            "pruners are not recorded",
            slip(Slip::PrunersNotRecorded, planned_without_looking),
            Fault::Lost,
        ),
        (
            "two pruners ignore each other",
            slip(Slip::PrunersIgnoreEachOther, planned_without_looking),
            Fault::Lost,
        ),
    ]
}

fn of_executors() -> Vec<Mistake> {
    let reader = World {
        reader: Some(0),
        pruners: 1,
        ..OPEN_PLAN
    };
    vec![
        (
            "an executor does not mark from snapshots",
            without(Do::MarkSnapshots, SMALL),
            Fault::Lost,
        ),
        (
            "an executor does not mark from readers",
            without(Do::MarkReaders, reader),
            Fault::Lost,
        ),
        (
            "an executor marks from snapshots before it looks who lives",
            pruner(Do::MarkSnapshots, Do::TakePlan, SMALL),
            Fault::Lost,
        ),
        (
            "an executor marks from readers before it marks from snapshots",
            pruner(Do::MarkReaders, Do::MarkSnapshots, reader),
            Fault::Lost,
        ),
        (
            "there are two executors",
            slip(Slip::NotAlone, OPEN_PLAN),
            Fault::Lost,
        ),
        (
            "an executor looks for another one before it can be seen",
            pruner(Do::BeAlone, Do::Execute, OPEN_PLAN),
            Fault::Lost,
        ),
        (
            "an executor counts on what other plans condemn",
            slip(Slip::OthersIgnored, COPIES),
            Fault::Lost,
        ),
        (
            "an executor trusts its mark although there are other plans",
            slip(Slip::KnownTrusted, COPIES),
            Fault::Lost,
        ),
        (
            "an executor does not wait for those who were recorded",
            without(Do::Judge, SMALL),
            Fault::Lost,
        ),
        (
            "an executor lists other plans before it looks who lives",
            pruner(Do::ListOthers, Do::TakePlan, COPIES),
            Fault::Lost,
        ),
        (
            "packs are deleted before their index entries",
            pruner(Do::Delete, Do::DropEntries, SMALL),
            Fault::Dangling,
        ),
        (
            "a plan is removed before its packs",
            pruner(Do::RemovePlan, Do::Delete, SMALL),
            Fault::Lost,
        ),
    ]
}

fn of_many_executors() -> Vec<Mistake> {
    vec![
        (
            "many executors spare packs that are needed again",
            slip(Slip::SpareInsteadOfCopy, copying(OPEN_PLAN)),
            Fault::Lost,
        ),
        (
            "many executors take a pack that no index object names for a home",
            slip(Slip::UnindexedIsHome, copying(two_pruners())),
            Fault::Lost,
        ),
        (
            "many executors delete packs before the copies are indexed",
            World {
                policy: Policy::Anything,
                ..pruner(Do::DropEntries, Do::IndexCopies, copying(SMALL))
            },
            Fault::Lost,
        ),
        (
            "many executors ignore each other",
            slip(Slip::PrunersIgnoreEachOther, copying(COPIES)),
            Fault::Lost,
        ),
    ]
}
