//! Descriptions of many groups, in the order in which a request names them.
//!
//! Always holds: a group that is named again is told again, and looked at once; a few groups are described at once, sharing the wait
//! for what is not committed yet, and their memory is reserved before the next ones are.
//!
//! Next: `handlers/describe_groups.rs`, `handlers/consumer_group_describe.rs`.

use std::collections::BTreeMap;

use klamm_protocol::ByteString;

use crate::context::RequestContext;
use crate::turn::Turn;

/// Groups that are described at once.
const AT_ONCE: usize = 16;
/// What a name takes beside its text while it is looked for.
const NAME_BYTES: usize = 2 * size_of::<ByteString>() + 64;

/// A description of a group.
pub(crate) trait Description: Clone {
    /// What it takes in the answer, made and encoded.
    fn bytes(&self) -> usize;
}

/// Describes the groups with these names, a few of them by one call of `describe`, which gives one for each; `None` if they are too
/// much for the memory.
pub(crate) async fn in_order<D: Description, F: Future<Output = Vec<D>>>(
    context: &RequestContext<'_>,
    names: Vec<ByteString>,
    describe: impl Fn(&[ByteString]) -> F,
) -> Option<Vec<D>> {
    let mut turn = Turn::default();
    let Named { distinct, places } = Named::of(context, names, &mut turn).await?;
    let mut described: Vec<D> = Vec::new();
    for some in distinct.chunks(AT_ONCE) {
        let bytes = |groups: &Vec<D>| groups.iter().map(D::bytes).sum::<usize>();
        let groups = context.memory.make(|| describe(some), bytes).await?;
        turn.spend(bytes(&groups)).await;
        described.extend(groups);
    }
    if places.len() == described.len() {
        return Some(described);
    }
    let mut groups = Vec::with_capacity(places.len());
    for place in places {
        let group = &described[place];
        let bytes = group.bytes();
        if !context.memory.reserve(bytes).await {
            return None;
        }
        turn.spend(bytes).await;
        groups.push(group.clone());
    }
    Some(groups)
}

/// The names of a request.
struct Named {
    /// Each once.
    distinct: Vec<ByteString>,
    /// Which of them stand where in the request.
    places: Vec<usize>,
}

impl Named {
    async fn of(context: &RequestContext<'_>, names: Vec<ByteString>, turn: &mut Turn) -> Option<Self> {
        if !context.memory.reserve(names.len() * NAME_BYTES).await {
            return None;
        }
        let mut known = BTreeMap::new();
        let (mut distinct, mut places) = (Vec::new(), Vec::with_capacity(names.len()));
        for name in names {
            turn.spend(name.len()).await;
            let place = *known.entry(name).or_insert_with_key(|name| {
                distinct.push(name.clone());
                distinct.len() - 1
            });
            places.push(place);
        }
        Some(Self { distinct, places })
    }
}
