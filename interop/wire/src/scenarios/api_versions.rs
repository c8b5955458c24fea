//! ApiVersions: the list by version, software names, the check of cluster and node (KIP-1242).

use anyhow::Result;
use klamm_protocol::ApiKey::ApiVersions;
use serde_json::json;

use crate::scenario::Scenario;

pub(super) fn run(s: &mut Scenario) -> Result<()> {
    let asked = json!({"ClientSoftwareName": "wire-table", "ClientSoftwareVersion": "1.0"});
    s.each(ApiVersions, "list", 0..=5, &asked)?;
    let names = [
        ("name-empty", "", "1"),
        ("version-empty", "a", ""),
        ("both-empty", "", ""),
        ("name-space", "a b", "1"),
        ("name-leading-dash", "-a", "1"),
        ("name-trailing-dot", "a.", "1"),
        ("name-underscore", "a_b", "1"),
        ("name-slash", "a/b", "1"),
        ("name-umlaut", "\u{e4}", "1"),
        ("version-space", "a", "1 0"),
        ("version-leading-dot", "a", ".1"),
    ];
    for (step, name, version) in names {
        let request = json!({"ClientSoftwareName": name, "ClientSoftwareVersion": version});
        s.each(ApiVersions, step, [3, 5], &request)?;
    }
    let cluster = s.cluster_id().to_owned();
    let cases = [
        ("cluster-right", json!(cluster), -1),
        ("cluster-wrong", json!("another"), -1),
        ("cluster-empty", json!(""), -1),
        ("node-right", json!(cluster), 1),
        ("node-wrong", json!(cluster), 2),
        ("node-minus-2", json!(cluster), -2),
        ("node-right-without-cluster", json!(null), 1),
        ("node-wrong-without-cluster", json!(null), 2),
        ("both-wrong", json!("another"), 2),
    ];
    for (step, cluster, node) in cases {
        let request = json!({"ClientSoftwareName": "wire-table", "ClientSoftwareVersion": "1.0",
            "ClusterId": cluster, "NodeId": node});
        s.ask(ApiVersions, step, 5, &request)?;
    }
    Ok(())
}
