//! The order in which writers, pruners and readers do things, and how it could be got wrong.

use crate::world::{Design, ENDED, IDLE};

/// One storage call, or one listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// Writes its session.
    Session,
    /// Lists `gc/`.
    ListPlans,
    /// Lists the packs that exist, having read the index.
    ListPacks,
    /// Stores the chunks that it did not find.
    Store,
    /// Writes its index object.
    Index,
    /// Writes its snapshot.
    Snapshot,
    /// Drops its session.
    Leave,
    /// Writes its plan.
    Plan,
    /// Lists the sessions of writers and pruners.
    ListSessions,
    /// Records them for plans that have no record, and decides which plans nobody who lives can have missed.
    Record,
    /// Lists the snapshots and marks from them.
    MarkSnapshots,
    /// Lists the sessions of readers and marks from them.
    MarkReaders,
    /// Stores copies of chunks that would lose their last home.
    CopyLive,
    /// Writes an index object for them.
    IndexCopies,
    /// Writes index objects without the condemned packs and removes the old ones.
    DropEntries,
    /// Deletes the condemned packs.
    Delete,
    /// Removes the plans, each after its record.
    RemovePlans,
    /// Lists the packs and chooses which to condemn.
    Choose,
    /// Records the sessions that live.
    RecordSessions,
    /// Drops its session: from here on it is no pruner any more.
    Retire,
    /// Writes its session as an executor.
    Execute,
    /// Looks whether there is another executor, and leaves if so. Lists the plans.
    BeAlone,
    /// Reads the next plan, and lists the sessions of writers and pruners.
    TakePlan,
    /// Looks whether one of the sessions lives that the record names, and passes the plan over if so.
    Judge,
    /// Lists what other plans condemn.
    ListOthers,
    /// Lists the packs and spares what is needed.
    Spare,
    /// Removes the plan, then its record, and goes on with the next one.
    RemovePlan,
    /// Removes records without a plan.
    RemoveStray,
    /// Looks whether its snapshot still exists.
    Check,
    /// Reads.
    Read,
    /// Removes a snapshot.
    Forget,
}

use Do::{
    BeAlone, Check, Choose, CopyLive, Delete, DropEntries, Execute, Index, IndexCopies, Judge,
    Leave, ListOthers, ListPacks, ListPlans, ListSessions, MarkReaders, MarkSnapshots, Plan, Read,
    Record, RecordSessions, RemovePlan, RemovePlans, Retire, Session, Snapshot, Spare, Store,
    TakePlan,
};

/// The steps of one participant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    list: [Option<Do>; 28],
    /// The session lives when more steps than this are done.
    from: u8,
    /// And when no more than this are.
    to: u8,
    /// The session as an executor lives when more steps than this are done.
    alone: u8,
}

impl Steps {
    const fn new(steps: &[Do]) -> Self {
        let mut list = [None; 28];
        let (mut at, mut number) = (0, 0);
        let (mut from, mut to, mut alone) = (0, u8::MAX, u8::MAX);
        while at < steps.len() {
            list[at] = Some(steps[at]);
            match steps[at] {
                Session => from = number,
                Leave if to == u8::MAX => to = number,
                Retire => to = number,
                Execute => alone = number,
                _ => {}
            }
            at += 1;
            number += 1;
        }
        Self {
            list,
            from,
            to,
            alone,
        }
    }

    /// What is done when `at` steps are done.
    pub(crate) fn step(&self, at: u8) -> Option<Do> {
        self.list.get(usize::from(at)).copied().flatten()
    }

    /// Whether the session lives when `at` steps are done.
    pub(crate) fn lives(&self, at: u8) -> bool {
        at != IDLE && at != ENDED && self.from < at && at <= self.to
    }

    /// Whether the session as an executor lives.
    pub(crate) fn executes(&self, at: u8) -> bool {
        at != ENDED && self.alone < at
    }

    /// How many steps come before `step`.
    pub(crate) fn before(&self, step: Do) -> u8 {
        let at = self.list.iter().position(|&other| other == Some(step));
        u8::try_from(at.unwrap_or(0)).unwrap()
    }

    fn to_vec(self) -> Vec<Do> {
        self.list.into_iter().flatten().collect()
    }

    /// The same with `step` put before `other`.
    fn moved(self, step: Do, other: Do) -> Self {
        let mut list = self.to_vec();
        let to = list.iter().rposition(|&one| one == other).unwrap();
        let from = to + list[to..].iter().position(|&one| one == step).unwrap();
        list.remove(from);
        list.insert(to, step);
        Self::new(&list)
    }
}

/// Everybody's steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) writer: Steps,
    pub(crate) pruner: Steps,
    pub(crate) reader: Steps,
}

const WRITER: [Do; 7] = [Session, ListPlans, ListPacks, Store, Index, Snapshot, Leave];
const COPYING: [Do; 14] = [
    Session,
    ListPlans,
    Plan,
    ListSessions,
    Record,
    MarkSnapshots,
    MarkReaders,
    ListPacks,
    CopyLive,
    IndexCopies,
    DropEntries,
    Delete,
    RemovePlans,
    Leave,
];
const ALONE: [Do; 23] = [
    Session,
    ListPlans,
    MarkSnapshots,
    MarkReaders,
    Choose,
    CopyLive,
    IndexCopies,
    Plan,
    ListSessions,
    RecordSessions,
    Retire,
    Execute,
    BeAlone,
    TakePlan,
    Judge,
    ListOthers,
    MarkSnapshots,
    MarkReaders,
    Spare,
    DropEntries,
    Delete,
    RemovePlan,
    Leave,
];
const READER: [Do; 3] = [Session, Check, Read];

impl Order {
    /// The protocol, with one executor at a time.
    pub(crate) const ALONE: Self = Self {
        writer: Steps::new(&WRITER),
        pruner: Steps::new(&ALONE),
        reader: Steps::new(&READER),
    };

    /// The protocol, with any number of executors.
    pub(crate) const COPYING: Self = Self {
        pruner: Steps::new(&COPYING),
        ..Self::ALONE
    };

    /// What is right in a design.
    pub(crate) fn right(design: Design) -> Self {
        match design {
            Design::Alone => Self::ALONE,
            Design::Copying => Self::COPYING,
        }
    }

    /// The same with the writer's `step` done before its `other`, which should come first.
    pub(crate) fn writer_does(self, step: Do, other: Do) -> Self {
        Self {
            writer: self.writer.moved(step, other),
            ..self
        }
    }

    /// The same with a mistake of the pruner's. Of steps that it does twice, the last are meant.
    pub(crate) fn pruner_does(self, step: Do, other: Do) -> Self {
        Self {
            pruner: self.pruner.moved(step, other),
            ..self
        }
    }

    /// The same with a pruner that records sessions which it listed before it wrote its plan.
    pub(crate) fn pruner_lists_sessions_before_planning(self) -> Self {
        let mut list = self.pruner.to_vec();
        let (plan, sessions) = (self.pruner.before(Plan), self.pruner.before(ListSessions));
        list.swap(usize::from(plan), usize::from(sessions));
        Self {
            pruner: Steps::new(&list),
            ..self
        }
    }

    /// The same with a pruner whose session ends before its plan is there.
    pub(crate) fn pruner_retires_before_planning(self) -> Self {
        Self {
            pruner: self.pruner.moved(Retire, Plan),
            ..self
        }
    }

    /// The same with a mistake of the reader's.
    pub(crate) fn reader_does(self, step: Do, other: Do) -> Self {
        Self {
            reader: self.reader.moved(step, other),
            ..self
        }
    }

    /// The same with an executor that leaves out a step.
    pub(crate) fn executor_leaves_out(self, step: Do) -> Self {
        let mut list = self.pruner.to_vec();
        let at = list.iter().rposition(|&one| one == step).unwrap();
        list.remove(at);
        Self {
            pruner: Steps::new(&list),
            ..self
        }
    }
}

/// A mistake that is not one of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slip {
    /// Writers use packs that plans condemn.
    WriterUsesCondemned,
    /// A plan without a record counts as one that nobody can have missed.
    MissingRecordIsEmpty,
    /// The sessions of pruners are not recorded.
    PrunersNotRecorded,
    /// Pruners know their own plan only, and are not recorded.
    PrunersIgnoreEachOther,
    /// Packs that are needed again are spared, although there can be several executors.
    SpareInsteadOfCopy,
    /// An executor does not look whether there is another one.
    NotAlone,
    /// What other plans condemn counts as a home.
    OthersIgnored,
    /// An executor relies on its mark from before, although other plans are there.
    KnownTrusted,
    /// A pack that no index object names counts as a home.
    UnindexedIsHome,
    /// A pack counts as a home although a plan condemns it that is not ready to be executed.
    CondemnedIsHome,
}
