//! `repo forget`: removes snapshots, by name or by rules.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Failure, Hint};
use super::output::{Align, Output, Table};
use super::snapshot_view::SnapshotView;
use super::{measure, pin, prune, tag, text};
use crate::entry::Time;
use crate::error::{Class, Error};
use crate::id::SnapshotId;
use crate::maintain::prune::PruneReport;
use crate::maintain::retention::{GroupBy, Period, Rules, Verdict, World, decide};
use crate::repository::{Repository, SnapshotInfo};

/// Remove snapshots: those that are named, or those that no rule keeps
///
/// Rules count within groups, which are the names of snapshots unless --group-by says otherwise. A snapshot stays if any --keep
/// rule wants it; a calendar rule keeps the newest snapshot of each of the last N hours, days, ... (in local time) that have
/// any. The limits --max-age and --max-total-size drop whatever the rules keep. Pinned snapshots stay in any case.
///
/// Space is freed by 'repo prune', or at once with --prune.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo forget web~3 1f2e3d4c
  repo forget --keep-last 3 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --prune
  repo forget --keep-within 30d --keep-tag release --dry-run --prune
  repo forget --name logs --max-age 8w --max-total-size 500G
  repo forget --unpin web~3")]
pub(super) struct Args {
    /// These snapshots
    #[arg(value_name = "REF", conflicts_with = "rules")]
    references: Vec<OsString>,
    #[command(flatten)]
    rules: RuleArgs,
    /// Forget pinned snapshots as well, if they are named
    #[arg(long, requires = "references")]
    unpin: bool,
    /// Say what would stay and what would go, and why; change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Then free the space, as 'repo prune' does; with --dry-run, say what that would free
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    how: prune::How,
}

/// Rules as they are typed.
#[derive(Debug, clap::Args)]
#[group(id = "rules", multiple = true)]
struct RuleArgs {
    /// Keep the last N snapshots of each group
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_last: Option<u64>,
    /// Keep the newest of each of the last N hours
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_hourly: Option<u64>,
    /// Keep the newest of each of the last N days
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_daily: Option<u64>,
    /// Keep the newest of each of the last N weeks
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_weekly: Option<u64>,
    /// Keep the newest of each of the last N months
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_monthly: Option<u64>,
    /// Keep the newest of each of the last N years
    #[arg(long, value_name = "N", help_heading = "Rules")]
    keep_yearly: Option<u64>,
    /// Keep what is at most so much older than the newest of its group (12h, 30d, 8w, 6mo, 1y)
    #[arg(long, value_name = "SPAN", value_parser = measure::span, help_heading = "Rules")]
    keep_within: Option<u64>,
    /// Keep snapshots with this tag; can be given more than once
    #[arg(long, value_name = "KEY[=VALUE]", value_parser = tag::tag_and_value, help_heading = "Rules")]
    keep_tag: Vec<(String, Option<String>)>,
    /// Drop what is older, whatever keeps it
    #[arg(long, value_name = "SPAN", value_parser = measure::span, help_heading = "Rules")]
    max_age: Option<u64>,
    /// Drop the oldest of each group until the files of the others have at most this size together, before deduplication
    #[arg(long, value_name = "SIZE", value_parser = measure::size, help_heading = "Rules")]
    max_total_size: Option<u64>,
    /// What snapshots of one group share
    #[arg(long, value_name = "name|kind|tag:KEY", default_value = "name",
          value_parser = group_by, help_heading = "Rules")]
    group_by: GroupBy,
    /// Look only at snapshots with this name
    #[arg(long, value_name = "NAME", help_heading = "Rules")]
    name: Option<String>,
}

fn group_by(text: &str) -> Result<GroupBy, String> {
    match text.split_once(':') {
        None if text == "name" => Ok(GroupBy::Name),
        None if text == "kind" => Ok(GroupBy::Kind),
        Some(("tag", key)) if !key.is_empty() => Ok(GroupBy::Tag(key.to_owned())),
        _ => Err("groups are by name, kind or tag:KEY".to_owned()),
    }
}

impl RuleArgs {
    fn rules(&self) -> Rules {
        let counts = [
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        let periods = Period::ALL.into_iter().zip(counts);
        Rules {
            last: self.keep_last.unwrap_or(0),
            periods: periods
                .filter_map(|(period, count)| Some((period, count?)))
                .collect(),
            within: self.keep_within,
            tags: self.keep_tag.clone(),
            max_age: self.max_age,
            max_total_bytes: self.max_total_size,
            group_by: self.group_by.clone(),
        }
    }
}

#[derive(Serialize)]
struct VerdictView {
    #[serde(flatten)]
    snapshot: SnapshotView,
    group: String,
    keep: bool,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct View {
    dry_run: bool,
    kept: u64,
    forgotten: u64,
    snapshots: Vec<VerdictView>,
    /// Ids of snapshots that could not be read and were named.
    unreadable: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prune: Option<prune::View>,
}

/// Forgets, and prunes if asked to.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    repository.require_full("forget snapshots")?;
    let (damaged, references) = damaged(&repository, &args.references)?;
    let verdicts = if args.references.is_empty() {
        by_rules(&repository, &args.rules)?
    } else {
        by_name(&repository, &references, args.unpin)?
    };
    for id in &damaged {
        if !args.dry_run {
            repository
                .forget(id, args.unpin)
                .hint_for(Class::Refused, unpin)?;
        }
    }
    for verdict in verdicts.iter().filter(|verdict| !verdict.keep) {
        if !args.dry_run {
            // One that was pinned since stays.
            repository
                .forget(&verdict.snapshot.id, args.unpin)
                .hint_for(Class::Refused, unpin)?;
        }
    }
    let pruned = match (args.prune, args.dry_run) {
        (false, _) => None,
        (true, false) => Some(prune::work(&repository, args.how, false, context)?),
        (true, true) => {
            let dropped = verdicts.iter().filter(|verdict| !verdict.keep);
            let mut absent: Vec<_> = dropped.map(|verdict| verdict.snapshot.id).collect();
            absent.extend(&damaged);
            Some(prune::without(&repository, (args.how, &absent), context)?)
        }
    };
    show(args, context, (verdicts, &damaged), pruned.as_ref())
}

fn unpin() -> String {
    "'repo forget --unpin' forgets it all the same".to_owned()
}

/// Snapshots that cannot be read can be given up by their ids; the other references.
fn damaged(
    repository: &Repository,
    references: &[OsString],
) -> Done<(Vec<SnapshotId>, Vec<OsString>)> {
    let (mut damaged, mut others) = (Vec::new(), Vec::new());
    for typed in references {
        let id = match typed.to_str() {
            Some(text) => repository.unreadable_snapshot(text)?,
            None => None,
        };
        match id {
            Some(id) => damaged.push(id),
            None => others.push(typed.clone()),
        }
    }
    Ok((damaged, others))
}

fn by_name(
    repository: &Repository,
    references: &[OsString],
    even_pinned: bool,
) -> Done<Vec<Verdict>> {
    let pins = repository.pins()?;
    let snapshots = pin::snapshots(repository, references)?;
    let pinned = snapshots.iter().find(|info| pins.contains(&info.id));
    if let Some(info) = pinned.filter(|_| !even_pinned) {
        let what = format!(
            "snapshot {} is pinned: nothing was forgotten",
            info.id.short()
        );
        return Err(Failure::from(Error::new(Class::Refused, what)).hint(unpin()));
    }
    let verdict = |snapshot: SnapshotInfo| Verdict {
        group: String::new(),
        keep: false,
        reasons: vec!["named".to_owned()],
        snapshot,
    };
    Ok(snapshots.into_iter().map(verdict).collect())
}

fn by_rules(repository: &Repository, args: &RuleArgs) -> Done<Vec<Verdict>> {
    let rules = args.rules();
    if rules.is_empty() {
        return Err(Failure::usage(
            "nothing says which snapshots to forget: name them, or give a rule",
        )
        .hint("--keep-last 3 --keep-daily 7, for example; --dry-run shows what it means"));
    }
    let mut snapshots = repository.snapshots()?;
    snapshots.retain(|info| {
        let name = args.name.as_ref();
        name.is_none_or(|name| *name == info.snapshot.name)
    });
    let pins: HashSet<_> = repository.pins()?;
    let now = Timestamp::now();
    let zone = TimeZone::system();
    let world = World {
        now: Time::new(now.as_second(), now.subsec_nanosecond().unsigned_abs()),
        period: &|period, time| number(period, time, &zone),
        pins: &pins,
    };
    Ok(decide(snapshots, &rules, &world))
}

/// The number of the period that a time falls in, in this time zone.
fn number(period: Period, time: Time, zone: &TimeZone) -> i64 {
    // A time beyond the calendar is in a period of its own day.
    let Ok(at) = Timestamp::from_second(time.seconds) else {
        return time.seconds.div_euclid(86_400);
    };
    let local = zone.to_datetime(at);
    let days = || {
        let since = local.date().since((jiff::Unit::Day, civil::date(1, 1, 1)));
        since.map_or(0, |span| i64::from(span.get_days()))
    };
    match period {
        Period::Hour => days() * 24 + i64::from(local.hour()),
        Period::Day => days(),
        // The first of January of the year 1 was a Monday.
        Period::Week => days().div_euclid(7),
        Period::Month => i64::from(local.year()) * 12 + i64::from(local.month()),
        Period::Year => i64::from(local.year()),
    }
}

fn show(
    args: &Args,
    context: &Context,
    (verdicts, damaged): (Vec<Verdict>, &[SnapshotId]),
    pruned: Option<&PruneReport>,
) -> Done {
    let mut out = Output::new();
    let kept = verdicts.iter().filter(|verdict| verdict.keep).count() as u64;
    let forgotten = (verdicts.len() + damaged.len()) as u64 - kept;
    if context.json() {
        let views = verdicts.iter().map(|verdict| VerdictView {
            snapshot: SnapshotView::new(&verdict.snapshot),
            group: verdict.group.clone(),
            keep: verdict.keep,
            reasons: verdict.reasons.clone(),
        });
        out.json(&View {
            dry_run: args.dry_run,
            kept,
            forgotten,
            snapshots: views.collect(),
            unreadable: damaged.iter().map(SnapshotId::to_hex).collect(),
            prune: pruned.map(|report| prune::View::new(report, args.dry_run)),
        })?;
        return out.finish();
    }
    if !context.globals().quiet {
        out.table(&table(verdicts, damaged))?;
        let verb = if args.dry_run {
            "would forget"
        } else {
            "forgot"
        };
        let counted = text::counted(forgotten, "snapshot", "snapshots");
        out.line(format!("{verb} {counted}, kept {}", text::count(kept)))?;
        if let Some(report) = pruned {
            prune::show(report, args.dry_run, &mut out)?;
        } else if forgotten > 0 && !args.dry_run {
            context.monitor().say("'repo prune' frees the space");
        }
    }
    out.finish()
}

fn table(verdicts: Vec<Verdict>, damaged: &[SnapshotId]) -> Table {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("ID", Align::Left),
        ("TIME", Align::Left),
        ("NAME", Align::Left),
        ("WHY", Align::Left),
    ]);
    let mut groups: BTreeMap<String, Vec<Verdict>> = BTreeMap::new();
    for verdict in verdicts {
        groups
            .entry(verdict.group.clone())
            .or_default()
            .push(verdict);
    }
    for verdict in groups.into_values().flatten() {
        let snapshot = &verdict.snapshot.snapshot;
        table.row(vec![
            if verdict.keep { "keep" } else { "drop" }.to_owned(),
            verdict.snapshot.id.short(),
            text::local_time(snapshot.time),
            text::line(&snapshot.name),
            text::line(&verdict.reasons.join(", ")),
        ]);
    }
    for id in damaged {
        let cells = ["drop", &id.short(), "", "", "named; it cannot be read"];
        table.row(cells.map(str::to_owned).to_vec());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time::new(text.parse::<Timestamp>().unwrap().as_second(), 0)
    }

    #[test]
    fn periods_follow_the_calendar_of_the_zone() {
        let utc = TimeZone::UTC;
        let east = TimeZone::fixed(jiff::tz::offset(2));
        let same = |period, zone: &TimeZone, a: &str, b: &str| {
            number(period, at(a), zone) == number(period, at(b), zone)
        };
        let (evening, night) = ("2026-11-26T21:59:59Z", "2026-11-26T22:00:00Z");
        assert!(same(Period::Day, &utc, evening, night));
        assert!(!same(Period::Day, &east, evening, night));
        // 2026-11-22 is a Sunday.
        let (sunday, monday, next) = (
            "2026-11-22T12:00:00Z",
            "2026-11-23T00:00:00Z",
            "2026-11-29T23:00:00Z",
        );
        assert!(!same(Period::Week, &utc, sunday, monday));
        assert!(same(Period::Week, &utc, monday, next));
        assert!(!same(
            Period::Year,
            &utc,
            "2026-12-31T23:59:59Z",
            "2027-01-01T00:00:00Z"
        ));
        assert!(same(
            Period::Month,
            &utc,
            "2026-11-01T00:00:00Z",
            "2026-11-30T23:59:59Z"
        ));
        assert!(!same(
            Period::Hour,
            &utc,
            "2026-11-01T10:59:59Z",
            "2026-11-01T11:00:00Z"
        ));
        for period in Period::ALL {
            let before = number(period, Time::new(i64::MIN, 0), &utc);
            assert!(before < number(period, at("2026-11-01T00:00:00Z"), &utc));
        }
    }
}
