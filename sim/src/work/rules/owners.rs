//! No partition has two owners: no two members of a group take it for their own at one time, and none two of one generation do at
//! any time.

use std::collections::BTreeMap;

use super::Report;
use crate::work::ledger::{Claim, Pages};

pub(super) fn check(pages: &Pages, report: &mut Report<'_>) {
    let mut of: BTreeMap<(&str, i32), Vec<&Claim>> = BTreeMap::new();
    let mut generations: BTreeMap<(&str, i32, i32), &str> = BTreeMap::new();
    for claim in &pages.claims {
        of.entry((claim.group, claim.partition)).or_default().push(claim);
        if let Some(generation) = claim.generation {
            let key = (claim.group, claim.partition, generation);
            let owner = *generations.entry(key).or_insert(&claim.member);
            if owner != claim.member {
                report.add(format_args!(
                    "{claim:?}, and {owner} has it in the same generation"
                ));
            }
        }
    }
    for mut claims in of.into_values() {
        claims.sort_by_key(|claim| claim.from);
        let mut longest: Option<&Claim> = None;
        for claim in claims {
            if let Some(before) = longest
                && before.to > claim.from
                && before.member != claim.member
            {
                report.add(format_args!("{before:?} and {claim:?}"));
            }
            if longest.is_none_or(|before| before.to < claim.to) {
                longest = Some(claim);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::work::ledger::Claim;
    use crate::work::rules::testing::{broken, good};

    fn claim(member: &str, generation: Option<i32>, from: u64, to: u64) -> Claim {
        Claim {
            group: "g",
            partition: 0,
            member: member.to_owned(),
            generation,
            from: Duration::from_millis(from),
            to: Duration::from_millis(to),
        }
    }

    #[test]
    fn two_owners_at_a_time_are_found() {
        for (claims, is_good) in [
            ([claim("a", None, 0, 10), claim("b", None, 10, 20)], true),
            ([claim("a", None, 0, 11), claim("b", None, 10, 20)], false),
            ([claim("a", None, 0, 11), claim("a", None, 10, 20)], true),
            ([claim("a", Some(1), 0, 10), claim("b", Some(1), 10, 20)], false),
            ([claim("a", Some(1), 0, 10), claim("b", Some(2), 10, 20)], true),
        ] {
            let mut pages = good();
            pages.claims = claims.to_vec();
            assert_eq!(broken(&pages).is_empty(), is_good, "{claims:?}");
        }
    }
}
