//! What must hold after each round, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

use serde_json::Value;

use crate::place::{Place, digest_of_tree};

/// What a snapshot is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tree,
    Archive,
}

/// A snapshot that is there, and what went in.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) digest: String,
    name: String,
    time: String,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Judge {
    there: Vec<Known>,
    /// Everything that was ever seen: name and time by id.
    seen: BTreeMap<String, (String, String)>,
    /// Said to be committed, and not looked at yet.
    committed: Vec<String>,
    verified: u64,
    rounds: u64,
}

/// The rule that every forget of a soak has.
const KEPT: usize = 2;

impl Judge {
    pub(crate) fn known(&self) -> Vec<Known> {
        self.there.clone()
    }

    /// An ingest said that it committed these.
    pub(crate) fn committed(&mut self, ids: Vec<String>) {
        self.committed.extend(ids);
    }

    /// Looks at everything, as a client that has never been here.
    pub(crate) fn look(&mut self, place: &Place, what: &str) {
        self.rounds += 1;
        let fresh = 1000 + self.rounds;
        for (repository, key) in [("repository", "key"), ("other", "other-key")] {
            let at = ["--repo", repository, "--key-file", key];
            let run = |args: &[&str]| {
                let output = place
                    .command(fresh, &[&at[..], args].concat())
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    output.status.success(),
                    "{what}: {repository}: {args:?}: {said}"
                );
                output.stdout
            };
            run(&["check", "--read-data"]);
            let listed: Vec<Value> =
                serde_json::from_slice(&run(&["snapshots", "--json"])).unwrap();
            let there: Vec<Known> = listed.iter().map(known).collect();
            for one in &there {
                self.verify(place, &run, one, what);
            }
            if repository == "repository" {
                self.compare(&there, what);
                self.there = there;
            }
        }
        drop(fs::remove_dir_all(place.cache(fresh)));
    }

    /// A snapshot gives back what went in.
    fn verify(&mut self, place: &Place, run: &dyn Fn(&[&str]) -> Vec<u8>, one: &Known, what: &str) {
        let found = match one.kind {
            Kind::Tree => {
                let target = place.path("back");
                run(&["restore", &one.id, "--target", target.to_str().unwrap()]);
                let found = digest_of_tree(&target);
                fs::remove_dir_all(&target).unwrap();
                found
            }
            Kind::Archive => {
                let bytes = run(&["export", &one.id, "--format", "tar", "-o", "-"]);
                blake3::hash(&bytes).to_hex().to_string()
            }
        };
        assert_eq!(found, one.digest, "{what}: {} is not what went in", one.id);
        self.verified += 1;
    }

    /// Nothing vanished that the rule keeps: of each name the newest of all that ever were. What is among those at the end was so
    /// at every moment.
    fn compare(&mut self, there: &[Known], what: &str) {
        let mut told = std::mem::take(&mut self.committed);
        for one in there {
            self.seen
                .insert(one.id.clone(), (one.name.clone(), one.time.clone()));
        }
        let ids: BTreeSet<&str> = there.iter().map(|one| one.id.as_str()).collect();
        let mut by_name: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (id, (name, time)) in &self.seen {
            by_name.entry(name).or_default().push((time, id));
        }
        for (name, mut all) in by_name {
            all.sort_unstable();
            for (_, id) in all.iter().rev().take(KEPT) {
                assert!(ids.contains(id), "{what}: {id} of '{name}' has vanished");
            }
        }
        // What was committed and is not there was forgotten in the same round: then there are newer ones.
        told.retain(|id| !ids.contains(id.as_str()));
        assert!(
            told.is_empty() || what.contains("Forget"),
            "{what}: {told:?} were committed and are not there"
        );
    }

    /// One prune leaves nothing that nobody needs, and nothing of anybody who was at work.
    pub(crate) fn finish(place: &Place, what: &str) {
        for (repository, key) in [("repository", "key"), ("other", "other-key")] {
            let prune = |more: &[&str]| {
                let at = [
                    "--repo",
                    repository,
                    "--key-file",
                    key,
                    "prune",
                    "--max-unused",
                    "0",
                ];
                let args = [&at[..], &["--json"], more].concat();
                let output = place.command(0, &args).output().unwrap();
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{what}: {said}");
                serde_json::from_slice::<Value>(&output.stdout).unwrap()
            };
            prune(&[]);
            for area in ["sessions", "gc"] {
                let left = fs::read_dir(place.path(repository).join(area));
                let left: Vec<_> = left.map_or(Vec::new(), Iterator::collect);
                assert!(left.is_empty(), "{what}: {repository}/{area}: {left:?}");
            }
            let again = prune(&["--dry-run"]);
            assert_eq!(
                again["unneeded"]["packs"], 0,
                "{what}: {repository}: {again}"
            );
            assert_eq!(again["unused_bytes"], 0, "{what}: {repository}: {again}");
        }
    }
}

fn known(listed: &Value) -> Known {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = &listed["tags"];
    let (kind, digest) = match tags.get("tree") {
        Some(digest) => (Kind::Tree, text(digest)),
        None => (Kind::Archive, text(&tags["tar"])),
    };
    Known {
        id: text(&listed["id"]),
        kind,
        digest,
        name: text(&listed["name"]),
        time: text(&listed["time"]).trim_end_matches('Z').to_owned(),
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} snapshots verified", self.verified)
    }
}
