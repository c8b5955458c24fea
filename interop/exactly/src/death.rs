//! What a worker may die of.
//!
//! Always holds: what is judged here is certain to be wrong. A client's own errors (that it waited in vain, that it was shut out)
//! are no faults: others are killed all the time, and a machine may be slow. What must not be in any life is an error of the
//! worker's program, which is how a hole in what was delivered shows, and what no broker may answer; in a life in which neither
//! the broker nor the worker was touched nothing that the broker answers is right but what comes of the others' deaths.
//! What a worker survives (it aborts, and goes on) is not judged.

/// What no broker may answer to these programs, dead or alive: that it does not know what went wrong, that the reader is out of
/// range, that bytes are corrupt or make no sense, that it does not know the request.
const NEVER: &[i32] = &[-1, 1, 2, 35, 42, 43, 76, 87];

/// The client's own errors that say that what the broker sent cannot be read.
const UNREADABLE: &[i32] = &[-199, -198];

/// What others' deaths bring, or a broker that has just begun: a topic, leader or coordinator that is not there yet, a generation or epoch that is over, another one
/// that has the name or the producer's id, offsets that are pending, a transaction that has ended.
const OF_OTHERS: &[i32] = &[
    3, 5, 6, 7, 13, 14, 15, 16, 19, 20, 22, 25, 27, 47, 48, 49, 51, 52, 59, 72, 74, 75, 79, 82, 88, 90, 100,
    110, 111, 113, 120,
];

/// Whether a worker must not have died of this. It is in calm when in its life the broker neither died nor was away, and it
/// was not stopped.
pub(crate) fn is_wrong(why: &str, is_calm: bool) -> bool {
    let Some(error) = why.strip_prefix("KafkaException ") else {
        return true;
    };
    let Some(code) = code(error) else {
        // Words of the worker's own, or of the client's, without an answer behind them.
        return false;
    };
    match code {
        ..-1 => UNREADABLE.contains(&code),
        _ if NEVER.contains(&code) => true,
        _ => is_calm && !OF_OTHERS.contains(&code),
    }
}

/// The number of an error: `KafkaError{code=_FENCED,val=-144,str="..."}`.
fn code(error: &str) -> Option<i32> {
    let (_, rest) = error.split_once(",val=")?;
    let (number, _) = rest.split_once(',')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_in_calm_and_what_always() {
        for (why, in_calm, otherwise) in [
            ("AssertionError input 5 of 3 came in place of 4", true, true),
            (
                r#"KafkaException KafkaError{code=UNKNOWN,val=-1,str="?"}"#,
                true,
                true,
            ),
            (
                r#"KafkaException KafkaError{code=INVALID_MSG,val=2,str="?"}"#,
                true,
                true,
            ),
            (
                r#"KafkaException KafkaError{code=_BAD_MSG,val=-199,str="?"}"#,
                true,
                true,
            ),
            (
                r#"KafkaException KafkaError{code=TOPIC_AUTHORIZATION_FAILED,val=29,str="?"}"#,
                true,
                false,
            ),
            (
                r#"KafkaException KafkaError{code=UNKNOWN_MEMBER_ID,val=25,str="?"}"#,
                false,
                false,
            ),
            (
                r#"KafkaException KafkaError{code=_FENCED,val=-144,str="a, val=2,"}"#,
                false,
                false,
            ),
            (
                r#"KafkaException KafkaError{FATAL,code=_FATAL,val=-150,str="?"}"#,
                false,
                false,
            ),
            (
                r#"KafkaException KafkaError{code=_TIMED_OUT,val=-185,str="?"}"#,
                false,
                false,
            ),
            ("KafkaException 3 records are not written", false, false),
        ] {
            assert_eq!(
                (is_wrong(why, true), is_wrong(why, false)),
                (in_calm, otherwise),
                "{why}"
            );
        }
    }
}
