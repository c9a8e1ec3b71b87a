//! Which snapshots rules keep, and why each is kept or dropped. Nothing is removed here, and no clock is read: what time it is, and
//! which calendar period a time falls in, is asked of the caller.

use std::collections::{BTreeMap, HashSet};

use crate::entry::Time;
use crate::format::snapshot::Snapshot;
use crate::id::SnapshotId;
use crate::repository::SnapshotInfo;

/// A calendar period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// An hour of a day.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Period {
    /// All of them, the shortest first.
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The word for a snapshot that is kept for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }
}

/// What is shared by the snapshots that rules count together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// The name.
    #[default]
    Name,
    /// The kind.
    Kind,
    /// The value of this tag; snapshots without it are one group.
    Tag(String),
}

impl GroupBy {
    fn of(&self, snapshot: &Snapshot) -> String {
        match self {
            Self::Name => snapshot.name.clone(),
            Self::Kind => snapshot.kind.name().to_owned(),
            Self::Tag(key) => {
                let tag = snapshot.tags.iter().find(|(name, _)| name == key);
                tag.map(|(_, value)| value.clone()).unwrap_or_default()
            }
        }
    }
}

/// The rules. A snapshot that any of `keep_*` wants is kept; without such a rule all are, except for what the limits drop.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// So many of the newest of each group.
    pub last: u64,
    /// For each period: the newest snapshot of each of the last so many periods that have any.
    pub periods: BTreeMap<Period, u64>,
    /// Those that are at most so many seconds older than the newest of their group.
    pub within: Option<u64>,
    /// Those with one of these tags: key, and value if it matters.
    pub tags: Vec<(String, Option<String>)>,
    /// Limit: drop what is older than so many seconds, whatever wants it.
    pub max_age: Option<u64>,
    /// Limit: drop the oldest of what is left of each group until the logical bytes of the others are at most this. The newest
    /// is never dropped for it.
    pub max_total_bytes: Option<u64>,
    /// How snapshots are grouped.
    pub group_by: GroupBy,
}

impl Rules {
    /// True if there is a rule that says what to keep.
    pub fn has_keep(&self) -> bool {
        self.last > 0
            || self.within.is_some()
            || !self.tags.is_empty()
            || self.periods.values().any(|count| *count > 0)
    }

    /// True if they say nothing at all.
    pub fn is_empty(&self) -> bool {
        !self.has_keep() && self.max_age.is_none() && self.max_total_bytes.is_none()
    }
}

/// What is decided about one snapshot.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The snapshot.
    pub snapshot: SnapshotInfo,
    /// Its group.
    pub group: String,
    /// Whether it stays.
    pub keep: bool,
    /// Why: all the rules that want it, or the one that drops it.
    pub reasons: Vec<String>,
}

/// What the rules need to know of the world.
pub struct World<'a> {
    /// Now.
    pub now: Time,
    /// The number of the period that a time falls in; equal numbers are one period.
    pub period: &'a dyn Fn(Period, Time) -> i64,
    /// Snapshots that nothing drops.
    pub pins: &'a HashSet<SnapshotId>,
}

/// Decides about all of `snapshots`, which come oldest first; groups by name, each oldest first.
pub fn decide(snapshots: Vec<SnapshotInfo>, rules: &Rules, world: &World<'_>) -> Vec<Verdict> {
    let mut groups: BTreeMap<String, Vec<SnapshotInfo>> = BTreeMap::new();
    for info in snapshots {
        let group = rules.group_by.of(&info.snapshot);
        groups.entry(group).or_default().push(info);
    }
    let groups = groups.into_iter();
    groups
        .flat_map(|(group, members)| of_group(&group, members, rules, world))
        .collect()
}

fn of_group(
    group: &str,
    members: Vec<SnapshotInfo>,
    rules: &Rules,
    world: &World<'_>,
) -> Vec<Verdict> {
    let mut wanted: Vec<Vec<String>> = vec![Vec::new(); members.len()];
    let newest_first = || (0..members.len()).rev();
    for (at, rank) in newest_first().zip(1..=rules.last) {
        wanted[at].push(format!("last {rank}"));
    }
    for (period, count) in &rules.periods {
        let (mut seen, mut last) = (0, None);
        for at in newest_first() {
            let number = (world.period)(*period, members[at].snapshot.time);
            if seen < *count && last.replace(number) != Some(number) {
                seen += 1;
                wanted[at].push(format!("{} {seen}", period.name()));
            }
        }
    }
    let newest = members.last().map_or(world.now, |info| info.snapshot.time);
    for (at, info) in members.iter().enumerate() {
        let snapshot = &info.snapshot;
        if rules
            .within
            .is_some_and(|seconds| !is_older(snapshot.time, newest, seconds))
        {
            wanted[at].push("within".to_owned());
        }
        let has = |(key, value): &(String, Option<String>)| {
            let is = |(k, v): &(String, String)| k == key && value.as_ref().is_none_or(|w| w == v);
            snapshot.tags.iter().any(is)
        };
        if let Some((key, value)) = rules.tags.iter().find(|tag| has(tag)) {
            let value = value.as_ref().map(|value| format!("={value}"));
            wanted[at].push(format!("tag {key}{}", value.unwrap_or_default()));
        }
    }
    let mut verdicts: Vec<Verdict> = members
        .into_iter()
        .zip(wanted)
        .map(|(snapshot, wanted)| verdict(group, snapshot, wanted, rules, world))
        .collect();
    limit_size(&mut verdicts, rules, world);
    verdicts
}

fn verdict(
    group: &str,
    snapshot: SnapshotInfo,
    wanted: Vec<String>,
    rules: &Rules,
    world: &World<'_>,
) -> Verdict {
    let too_old = rules
        .max_age
        .is_some_and(|seconds| is_older(snapshot.snapshot.time, world.now, seconds));
    let (keep, reasons) = if world.pins.contains(&snapshot.id) {
        (true, vec!["pinned".to_owned()])
    } else if too_old {
        (false, vec!["older than --max-age".to_owned()])
    } else if !wanted.is_empty() {
        (true, wanted)
    } else if rules.has_keep() {
        (false, vec!["no rule keeps it".to_owned()])
    } else {
        (true, vec!["within the limits".to_owned()])
    };
    Verdict {
        snapshot,
        group: group.to_owned(),
        keep,
        reasons,
    }
}

/// Drops the oldest until the rest fits.
fn limit_size(verdicts: &mut [Verdict], rules: &Rules, world: &World<'_>) {
    let Some(limit) = rules.max_total_bytes else {
        return;
    };
    let size = |verdict: &Verdict| verdict.snapshot.snapshot.counts.bytes;
    let kept = verdicts.iter().filter(|verdict| verdict.keep);
    let mut total = kept.map(size).fold(0, u64::saturating_add);
    let Some((_, older)) = verdicts.split_last_mut() else {
        return;
    };
    for verdict in older {
        if total <= limit {
            return;
        }
        if verdict.keep && !world.pins.contains(&verdict.snapshot.id) {
            total -= size(verdict);
            verdict.keep = false;
            verdict.reasons = vec!["beyond --max-total-size".to_owned()];
        }
    }
}

/// True if `time` is more than so many seconds before `than`.
fn is_older(time: Time, than: Time, seconds: u64) -> bool {
    let age = i128::from(than.seconds) - i128::from(time.seconds);
    age > i128::from(seconds) || age == i128::from(seconds) && than.nanoseconds > time.nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::snapshot::StreamKind;
    use crate::format::tree::{Body, Node, TreeRef};
    use crate::id::{ChunkId, ObjectId};

    const DAY: i64 = 86_400;

    fn info(name: &str, seconds: i64, bytes: u64) -> SnapshotInfo {
        let tree = TreeRef {
            id: ChunkId::new([0; 32]),
            names: 0,
            directories: 0,
            total: 0,
            bytes: 0,
        };
        let root = Node::new(Vec::new(), Body::Directory(tree));
        let mut snapshot = Snapshot::new(StreamKind::Dir, root);
        name.clone_into(&mut snapshot.name);
        snapshot.time = Time::new(seconds, 0);
        snapshot.counts.bytes = bytes;
        SnapshotInfo {
            id: id(name, seconds),
            snapshot,
        }
    }

    fn id(name: &str, seconds: i64) -> SnapshotId {
        ObjectId::of(format!("{name} {seconds}").as_bytes())
    }

    fn period(period: Period, time: Time) -> i64 {
        let seconds = match period {
            Period::Hour => 3600,
            Period::Day => DAY,
            Period::Week => 7 * DAY,
            Period::Month => 30 * DAY,
            Period::Year => 360 * DAY,
        };
        time.seconds.div_euclid(seconds)
    }

    /// Seconds of what is kept, and all reasons in a line.
    fn kept(all: Vec<SnapshotInfo>, rules: &Rules, pins: &[SnapshotId]) -> (Vec<i64>, String) {
        let pins = pins.iter().copied().collect();
        let world = World {
            now: Time::new(100 * DAY, 0),
            period: &period,
            pins: &pins,
        };
        let verdicts = decide(all, rules, &world);
        let reasons: Vec<String> = verdicts.iter().map(|v| v.reasons.join("+")).collect();
        let kept = verdicts.iter().filter(|v| v.keep);
        (
            kept.map(|v| v.snapshot.snapshot.time.seconds).collect(),
            reasons.join(", "),
        )
    }

    #[test]
    fn each_period_keeps_its_newest() {
        let all = || {
            (0..8)
                .map(|n| info("a", n * DAY / 2, 1))
                .collect::<Vec<_>>()
        };
        let mut rules = Rules {
            last: 1,
            ..Rules::default()
        };
        rules.periods.insert(Period::Day, 2);
        let (days, reasons) = kept(all(), &rules, &[]);
        assert_eq!(days, [5 * DAY / 2, 7 * DAY / 2]);
        assert!(
            reasons.ends_with("daily 2, no rule keeps it, last 1+daily 1"),
            "{reasons}"
        );
        // More periods than there are keep one of each.
        rules.periods.insert(Period::Day, 99);
        assert_eq!(kept(all(), &rules, &[]).0.len(), 4);
    }

    #[test]
    fn groups_do_not_count_for_each_other() {
        let mut all: Vec<_> = (0..3).map(|n| info("a", n, 1)).collect();
        all.extend((0..3).map(|n| info("b", 10 + n, 1)));
        all[0].snapshot.tags = vec![("keep".into(), "yes".into())];
        let mut rules = Rules {
            last: 1,
            ..Rules::default()
        };
        assert_eq!(kept(all.clone(), &rules, &[]).0, [2, 12]);
        rules.group_by = GroupBy::Kind;
        assert_eq!(kept(all.clone(), &rules, &[]).0, [12]);
        rules.tags = vec![("keep".into(), None)];
        assert_eq!(kept(all.clone(), &rules, &[]).0, [0, 12]);
        rules.tags = vec![("keep".into(), Some("no".into()))];
        rules.group_by = GroupBy::Tag("keep".into());
        assert_eq!(kept(all, &rules, &[]).0, [12, 0]);
    }

    #[test]
    fn limits_drop_what_rules_keep_but_neither_pins_nor_the_newest() {
        let all = || [90, 95, 97, 99].map(|n| info("a", n * DAY, 10)).to_vec();
        let mut rules = Rules {
            last: 4,
            max_age: Some(6 * 86_400),
            ..Rules::default()
        };
        assert_eq!(kept(all(), &rules, &[]).0, [95, 97, 99].map(|n| n * DAY));
        let pin = [id("a", 90 * DAY)];
        assert_eq!(kept(all(), &rules, &pin).0.len(), 4);
        rules.max_total_bytes = Some(20);
        assert_eq!(kept(all(), &rules, &[]).0, [97, 99].map(|n| n * DAY));
        rules.max_total_bytes = Some(0);
        assert_eq!(kept(all(), &rules, &pin).0, [90, 99].map(|n| n * DAY));
        // Without a rule that keeps, only the limits drop.
        rules.last = 0;
        rules.max_total_bytes = None;
        assert_eq!(kept(all(), &rules, &[]).0.len(), 3);
    }

    #[test]
    fn within_counts_from_the_newest_of_the_group() {
        let all = [1, 5, 10].map(|n| info("a", n * DAY, 1)).to_vec();
        let rules = Rules {
            within: Some(5 * 86_400),
            ..Rules::default()
        };
        assert_eq!(kept(all, &rules, &[]).0, [5 * DAY, 10 * DAY]);
    }
}
