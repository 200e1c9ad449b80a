//! Random scenarios.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::Value;

use super::generator;
use super::performers::{Folder, Performed, Performer, perform_all};
use super::{notice, shown};

const SEED: u64 = 20_240_611;
const SCENARIOS: u64 = 220;

fn number_from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|e| panic!("{name}: {e}: {text}")),
        Err(_) => default,
    }
}

/// Random scenarios, in files.
struct Randoms {
    /// The directory of the files, as long as it is needed.
    _folder: Folder,
    seeds: Vec<u64>,
    scenarios: Vec<Value>,
    files: Vec<PathBuf>,
}

impl Randoms {
    fn new(seeds: impl Iterator<Item = u64>) -> Self {
        let folder = Folder::new();
        let seeds: Vec<_> = seeds.collect();
        let scenarios: Vec<_> = seeds.iter().copied().map(generator::scenario).collect();
        let files = seeds
            .iter()
            .zip(&scenarios)
            .map(|(seed, scenario)| folder.write(&format!("{seed}.json"), &scenario.to_string()))
            .collect();
        Self {
            _folder: folder,
            seeds,
            scenarios,
            files,
        }
    }

    /// Returns the message for a scenario that failed.
    fn report(&self, index: usize, performers: &[&Performer], answers: &[Performed]) -> String {
        let mut report = format!("seed {}: {}\n", self.seeds[index], self.scenarios[index]);
        for (performer, answer) in performers.iter().zip(answers) {
            writeln!(report, "  {}: {}", performer.name, shown(answer)).unwrap();
        }
        report
    }
}

#[test]
fn random_scenarios_are_performed_as_by_the_reference() {
    let crates = Performer::all_of_the_crate();
    let Some(reference) = Performer::all_of_the_reference() else {
        compare_backends(&crates);
        return;
    };
    let wanted = number_from_environment("FDLOOP_SCENARIOS", SCENARIOS);
    let mut seed = number_from_environment("FDLOOP_SEED", SEED);
    let performers: Vec<_> = reference.iter().chain(&crates).collect();
    let (mut compared, mut ambiguous) = (0, 0);
    let mut failures = Vec::new();
    while compared < wanted {
        let more = (wanted - compared).min(240);
        let randoms = Randoms::new(seed..seed + more);
        seed += more;
        let answers = perform_all(&randoms.files, &performers);
        for (index, answers) in answers.iter().enumerate() {
            let (expected, crates) = answers.split_at(reference.len());
            if expected[0] != expected[1] {
                // asyncore itself answers differently under select and poll.
                ambiguous += 1;
                continue;
            }
            compared += 1;
            let fails = expected[0].is_err() || crates.iter().any(|it| *it != expected[0]);
            if fails && is_certain(&randoms, index, &reference, &expected[0]) {
                failures.push(randoms.report(index, &performers, answers));
            }
        }
        assert!(
            failures.is_empty(),
            "{} of {compared} random scenarios are performed otherwise than by the reference \
             (FDLOOP_SEED=... FDLOOP_SCENARIOS=1 performs one of them again):\n{}",
            failures.len(),
            failures[..failures.len().min(4)].join("\n")
        );
        // A generator that mostly makes what nobody can judge tests nothing.
        assert!(
            ambiguous <= compared / 2 + 1,
            "{ambiguous} ambiguous, {compared} not"
        );
    }
    notice(&format!(
        "{compared} random scenarios compared with asyncore, {ambiguous} passed over as ambiguous"
    ));
}

/// Checks whether the reference returns the same again and again, so that its trace does
/// not depend on how busy the machine is.
fn is_certain(
    randoms: &Randoms,
    index: usize,
    reference: &[Performer],
    expected: &Performed,
) -> bool {
    let performers: Vec<_> = reference.iter().chain(reference).collect();
    let file = std::slice::from_ref(&randoms.files[index]);
    perform_all(file, &performers)[0]
        .iter()
        .all(|answer| answer == expected)
}

/// The next best without the reference: all backends agree.
fn compare_backends(crates: &[Performer]) {
    let seed = number_from_environment("FDLOOP_SEED", SEED);
    let count = number_from_environment("FDLOOP_SCENARIOS", SCENARIOS);
    let randoms = Randoms::new(seed..seed + count);
    let performers: Vec<_> = crates.iter().collect();
    let answers = perform_all(&randoms.files, &performers);
    for (index, answers) in answers.iter().enumerate() {
        let agree = answers
            .iter()
            .all(|answer| answer.is_ok() && *answer == answers[0]);
        assert!(agree, "{}", randoms.report(index, &performers, answers));
    }
}

#[test]
fn a_seed_always_makes_the_same_scenario() {
    for seed in 0..50 {
        assert_eq!(generator::scenario(seed), generator::scenario(seed));
    }
    assert_ne!(generator::scenario(1), generator::scenario(2));
}
