//! The rule of configuration: a key that is served has a test that sets it and sees its effect, and the page that lists the
//! keys is up to date.

use super::Finding;

/// Takes the keys without a proof, with what they configure, and the pages that are not up to date.
pub(super) fn check(unproven: &[(String, &str)], stale: &[&str]) -> Vec<Finding> {
    let keys = unproven
        .iter()
        .map(|(of, key)| Finding::new(key, format!("no test shows the effect of this {of} key")));
    let pages = stale
        .iter()
        .map(|page| Finding::new(page, "is not up to date: cargo xtask docs"));
    keys.chain(pages).collect()
}

/// The served keys that nothing shows the effect of.
pub(super) fn unproven() -> Vec<(String, &'static str)> {
    let keys = klamm_config::without_proof().into_iter();
    keys.map(|(resource, key)| (format!("{resource:?}").to_lowercase(), key))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_proof_and_an_old_page_are_found() {
        assert_eq!(check(&[], &[]), []);
        let found = check(
            &[("broker".to_owned(), "klamm.workers")],
            &["docs/reference/configuration.md"],
        );
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("klamm.workers: no test shows") && lines[1].starts_with("docs/reference/")
        );
    }
}
