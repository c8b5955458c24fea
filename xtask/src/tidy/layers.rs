//! The rule of the layers: a package depends on what stands below it, and only on what its row allows.
//!
//! The rows are the layers of the architecture from the bottom up: values, decisions, effects, assemblies, binary. A
//! package may be used by the rows after it only, so there is no way around in a circle. Packages of values and of
//! decisions do no input and output, hence use no crate that does. What tests alone use is free.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Deserialize;

use super::Finding;
use crate::{process, workspace::cargo};

/// What a package is, and with it whether it may touch the world.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Values,
    Decisions,
    Effects,
    Assemblies,
    Binary,
    /// Stands beside the product: builds, checks and runs it.
    Project,
}

struct Row {
    package: &'static str,
    layer: Layer,
    uses: &'static [&'static str],
}

const fn row(package: &'static str, layer: Layer, uses: &'static [&'static str]) -> Row {
    Row { package, layer, uses }
}

/// The allowed edges between the packages of the workspace.
const ROWS: &[Row] = &[
    row("base2histogram", Layer::Values, &[]),
    row("klamm-model", Layer::Values, &[]),
    row("klamm-protocol", Layer::Values, &["klamm-model"]),
    row("klamm-records", Layer::Values, &["klamm-model"]),
    row("klamm-config", Layer::Values, &["klamm-model"]),
    row(
        "klamm-metadata",
        Layer::Decisions,
        &["klamm-config", "klamm-model", "klamm-protocol", "klamm-records"],
    ),
    row("klamm-replication", Layer::Decisions, &["klamm-model"]),
    row(
        "klamm-coordinator",
        Layer::Decisions,
        &["klamm-config", "klamm-metadata", "klamm-model", "klamm-protocol"],
    ),
    row("klamm-env", Layer::Effects, &["klamm-model"]),
    row(
        "klamm-log",
        Layer::Effects,
        &["klamm-env", "klamm-model", "klamm-records"],
    ),
    row(
        "klamm-quorum",
        Layer::Effects,
        &["klamm-env", "klamm-model", "klamm-protocol"],
    ),
    row(
        "klamm-net",
        Layer::Effects,
        &["klamm-env", "klamm-model", "klamm-protocol"],
    ),
    row(
        "klamm-client",
        Layer::Assemblies,
        &["klamm-env", "klamm-model", "klamm-protocol", "klamm-records"],
    ),
    row(
        "klamm-broker",
        Layer::Assemblies,
        &[
            "klamm-config",
            "klamm-coordinator",
            "klamm-env",
            "klamm-log",
            "klamm-metadata",
            "klamm-model",
            "klamm-net",
            "klamm-protocol",
            "klamm-quorum",
            "klamm-records",
            "klamm-replication",
        ],
    ),
    row(
        "klamm",
        Layer::Binary,
        &[
            "klamm-broker",
            "klamm-client",
            "klamm-config",
            "klamm-env",
            "klamm-log",
            "klamm-metadata",
            "klamm-model",
            "klamm-net",
            "klamm-protocol",
            "klamm-records",
        ],
    ),
    row(
        "klamm-load",
        Layer::Project,
        &["klamm-model", "klamm-protocol", "klamm-records"],
    ),
    row(
        "klamm-wire-table",
        Layer::Project,
        &["klamm-model", "klamm-protocol", "klamm-records"],
    ),
    row(
        "klamm-fuzz",
        Layer::Project,
        &[
            "klamm-config",
            "klamm-coordinator",
            "klamm-env",
            "klamm-log",
            "klamm-metadata",
            "klamm-model",
            "klamm-net",
            "klamm-protocol",
            "klamm-quorum",
            "klamm-records",
        ],
    ),
    row(
        "klamm-sim",
        Layer::Project,
        &[
            "klamm-broker",
            "klamm-config",
            "klamm-env",
            "klamm-model",
            "klamm-protocol",
            "klamm-records",
        ],
    ),
    row(
        "klamm-kill",
        Layer::Project,
        &[
            "klamm-env",
            "klamm-model",
            "klamm-protocol",
            "klamm-records",
            "klamm-sim",
        ],
    ),
    row("klamm-exactly", Layer::Project, &["klamm-env", "klamm-sim"]),
    row(
        "klamm-limit",
        Layer::Project,
        &["klamm-model", "klamm-protocol", "klamm-records"],
    ),
    row(
        "klamm-micro",
        Layer::Project,
        &[
            "klamm-broker",
            "klamm-config",
            "klamm-coordinator",
            "klamm-env",
            "klamm-log",
            "klamm-metadata",
            "klamm-model",
            "klamm-protocol",
            "klamm-records",
        ],
    ),
    row("xtask", Layer::Project, &["klamm-config", "klamm-protocol"]),
];

/// Crates that do what values and decisions may not: input and output, tasks, clocks, chance.
const DOERS: &[&str] = &[
    "axum", "openraft", "rand", "rustix", "tempfile", "tokio", "turmoil",
];

/// A package of the workspace and what it depends on, tests left out.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) uses: BTreeSet<String>,
    /// What its tests use in addition.
    pub(super) tests_use: BTreeSet<String>,
}

/// The packages of the workspace, as cargo sees them.
pub(super) fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Manifest>,
    }
    #[derive(Deserialize)]
    struct Manifest {
        name: String,
        dependencies: Vec<Dependency>,
    }
    #[derive(Deserialize)]
    struct Dependency {
        name: String,
        kind: Option<String>,
    }
    let text = process::output(cargo().args(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: Metadata = serde_json::from_str(&text)?;
    let packages = metadata.packages.into_iter().map(|manifest| {
        let (tests, uses): (Vec<Dependency>, Vec<Dependency>) = manifest
            .dependencies
            .into_iter()
            .partition(|dependency| dependency.kind.as_deref() == Some("dev"));
        let names = |list: Vec<Dependency>| list.into_iter().map(|dependency| dependency.name).collect();
        Package {
            name: manifest.name,
            uses: names(uses),
            tests_use: names(tests),
        }
    });
    Ok(packages.collect())
}

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let rows: BTreeMap<&str, &Row> = ROWS.iter().map(|row| (row.package, row)).collect();
    let present: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let Some(row) = rows.get(package.name.as_str()) else {
            findings.push(Finding::new(
                &package.name,
                "the package has no row in the table of layers",
            ));
            continue;
        };
        for used in &package.uses {
            if present.contains(used.as_str()) && !row.uses.contains(&used.as_str()) {
                findings.push(Finding::new(
                    &package.name,
                    format!("may not depend on {used}: see the table of layers"),
                ));
            }
            let pure = matches!(row.layer, Layer::Values | Layer::Decisions);
            if pure && DOERS.contains(&used.as_str()) {
                findings.push(Finding::new(
                    &package.name,
                    format!("only decides, so it may not use {used}"),
                ));
            }
        }
    }
    for row in ROWS.iter().filter(|row| !present.contains(row.package)) {
        findings.push(Finding::new(
            row.package,
            "has a row in the table of layers, and is not in the workspace",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str]) -> Package {
        let uses = uses.iter().map(|used| (*used).to_owned()).collect();
        Package {
            name: name.to_owned(),
            uses,
            tests_use: BTreeSet::new(),
        }
    }

    fn all() -> Vec<Package> {
        ROWS.iter().map(|row| package(row.package, row.uses)).collect()
    }

    #[test]
    fn what_the_rows_allow_is_allowed() {
        assert_eq!(check(&all()), []);
    }

    #[test]
    fn an_edge_that_points_up_is_found() {
        let mut packages = all();
        packages.retain(|package| package.name != "klamm-log");
        packages.push(package("klamm-log", &["klamm-model", "klamm-net"]));
        let found = check(&packages);
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .to_string()
                .contains("klamm-log: may not depend on klamm-net")
        );
    }

    #[test]
    fn a_decision_that_does_input_or_output_is_found() {
        let mut packages = all();
        packages.retain(|package| package.name != "klamm-replication");
        packages.push(package("klamm-replication", &["tokio"]));
        assert_eq!(check(&packages).len(), 1);
    }

    #[test]
    fn a_package_without_a_row_and_a_row_without_a_package_are_found() {
        let mut packages = all();
        packages.push(package("klamm-new", &[]));
        assert_eq!(check(&packages).len(), 1);
        packages.truncate(ROWS.len() - 1);
        assert_eq!(check(&packages).len(), 1);
    }

    #[test]
    fn the_rows_stand_in_order_and_uses_point_up_the_table_only() {
        for (index, row) in ROWS.iter().enumerate() {
            for used in row.uses {
                let below = ROWS[..index].iter().any(|earlier| earlier.package == *used);
                assert!(below, "{} uses {used}, which is not below it", row.package);
            }
            assert!(
                index == 0 || ROWS[index - 1].layer as u8 <= row.layer as u8,
                "{}",
                row.package
            );
        }
    }
}
