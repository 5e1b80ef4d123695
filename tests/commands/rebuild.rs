//! No command replaces a program that another one runs (fault 35): a reader has a server running while they
//! test or examine something. Cargo builds a library again for each set of features that a command selects,
//! and every program that is linked with it takes the place of the one that was there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Stdio,
    time::SystemTime,
};

use cargo_metadata::{Artifact, Message, PackageId, camino::Utf8Path};

use crate::program::cargo;

const BUILD: &str = "build --bin companion --bin bench --bin 08-client";
const TEST: &str = "test --no-run";

/// All that a command needs, built.
fn artifacts(command: &str) -> Vec<Artifact> {
    let (mut cargo, _) = cargo(command);
    cargo.arg("--message-format=json-render-diagnostics");
    let output = cargo.stderr(Stdio::inherit()).output();
    let output = output.expect("Cargo can be run");
    assert!(output.status.success(), "`cargo {command}` fails");
    let messages = Message::parse_stream(&output.stdout[..]);
    let artifact = |message| match message {
        Ok(Message::CompilerArtifact(artifact)) => Some(artifact),
        _ => None,
    };
    messages.filter_map(artifact).collect()
}

/// The sets of features that each package was built with.
fn features(artifacts: &[Artifact]) -> BTreeMap<&PackageId, BTreeSet<String>> {
    let mut features = BTreeMap::new();
    for artifact in artifacts {
        let sets: &mut BTreeSet<_> = features.entry(&artifact.package_id).or_default();
        sets.insert(artifact.features.join(" "));
    }
    features
}

/// The programs, with what tells each from another one in its place: when the file was written and made.
fn programs(artifacts: &[Artifact]) -> BTreeMap<&Utf8Path, [Option<SystemTime>; 2]> {
    let files = artifacts
        .iter()
        .filter_map(|artifact| artifact.executable.as_deref());
    let identity = |file| {
        let metadata = fs::metadata::<&Utf8Path>(file).expect("Cargo has made it");
        // Not every system knows the second.
        (file, [metadata.modified().ok(), metadata.created().ok()])
    };
    files.map(identity).collect()
}

#[test]
fn no_command_replaces_what_another_one_runs() {
    let built = artifacts(BUILD);
    let before = programs(&built);
    let tested = artifacts(TEST);
    let between = programs(&built);
    artifacts(BUILD);
    let after = programs(&built);

    let with = features(&tested);
    let mut differ = String::new();
    for (package, built) in features(&built) {
        if let Some(tested) = with.get(package).filter(|tested| !built.is_subset(tested)) {
            differ += &format!("{package}: {built:?} and {tested:?}\n");
        }
    }
    assert!(
        differ.is_empty(),
        "`cargo {BUILD}` and `cargo {TEST}` select different features, so each replaces the programs of the \
         other. All packages must get them from [workspace.dependencies] in the Cargo.toml of the \
         root:\n{differ}"
    );
    for (command, before, after) in [(TEST, &before, &between), (BUILD, &between, &after)] {
        let mut files = before.keys().filter(|file| before[*file] != after[*file]);
        assert_eq!(files.next(), None, "`cargo {command}` has replaced it");
    }
}
