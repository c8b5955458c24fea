//! Transactions: what is committed, aborted, listed, described and ended. What is open while a command looks at it is in
//! `../transactions.rs`.

use super::{Call, call};

const TRANSACTION: &str = "transaction";

pub(super) const CALLS: &[Call] = &[
    call(TRANSACTION, "transaction list").prints("TRANSACTIONAL ID  STATE  PRODUCER  COORDINATOR\n"),
    call(TRANSACTION, "topic create cli-t -p 1").prints("TOPIC  *\ncli-t  1 *created\n"),
    call(TRANSACTION, "produce cli-t --transactional-id cli-x")
        .given("a\nb\n")
        .says(&["2 records in 1 transaction (2 B) committed to 'cli-t' in "]),
    call(TRANSACTION, "produce cli-t --transactional-id cli-x --transaction-records 2 -o json")
        .given("c\nd\ne\n")
        .prints(
            "{\n  \"topic\": \"cli-t\",\n  \"records\": 3,\n  \"bytes\": 3,\n  \"transactions\": 2,\n  \"seconds\": *\n}\n",
        )
        .says(&["3 records in 2 transactions (3 B) committed"]),
    call(TRANSACTION, "transaction list").prints(
        "TRANSACTIONAL ID  STATE *PRODUCER  COORDINATOR\ncli-x             *-commit * 1\n",
    ),
    call(TRANSACTION, "produce cli-t --transactional-id cli-x FOLDER/one FOLDER/large")
        .fails(&[
            "0 records in 0 transactions committed before this failed: ",
            "MESSAGE_TOO_LARGE",
            "klamm config get --topic cli-t max.message.bytes",
        ]),
    // The markers of the last transaction may be on their way still.
    call(TRANSACTION, "transaction list --state prepare-abort,complete-abort --id cli-.* -o json")
        .prints(
            "[\n  {\n    \"transactional_id\": \"cli-x\",\n    \"state\": \"*-abort\",\n    \"producer_id\": *,\n    \"coordinator\": 1\n  }\n]\n",
        ),
    // A producer begins when the markers of the one before are written.
    call(TRANSACTION, "produce cli-t --transactional-id cli-x")
        .says(&["0 records in 0 transactions (0 B) committed"]),
    call(TRANSACTION, "consume cli-t --from beginning --until end").prints("a\nb\nc\nd\ne\n"),
    call(TRANSACTION, "consume cli-t --from beginning --until end --isolation read-uncommitted")
        .prints("a\nb\nc\nd\ne\n1\n2\n"),
    call(TRANSACTION, "produce cli-t --transactional-id cli-x --transaction-timeout 1d")
        .given("a\n")
        .fails(&["INVALID_TRANSACTION_TIMEOUT", "transaction.max.timeout.ms"]),
    call(TRANSACTION, "produce cli-t --transaction-records 2").usage(&["--transactional-id"]),
    call(TRANSACTION, "produce cli-t --transactional-id cli-x --transaction-records 0").usage(&["--transaction-records"]),
    call(TRANSACTION, "transaction list --state committed").usage(&["ongoing, prepare-commit"]),
    call(TRANSACTION, "transaction list --open-for 1s")
        .prints("TRANSACTIONAL ID  STATE  PRODUCER  COORDINATOR\n"),
    call(TRANSACTION, "transaction list --id [")
        .fails(&["INVALID_REGULAR_EXPRESSION", "klamm transaction list without --id"]),
    call(TRANSACTION, "transaction describe cli-x")
        .prints(
            "transactional id  cli-x\nstate             empty\ncoordinator       1\nproducer          *\nepoch             *\ntimeout           1m\nopen since        -\nopen for          -\n",
        ),
    call(TRANSACTION, "transaction describe cli-x -o yaml")
        .prints("- transactional_id: cli-x\n  state: empty\n...\n  timeout_ms: 60000\n...\n"),
    call(TRANSACTION, "transaction describe cli-y")
        .fails(&["there is no transactional id 'cli-y'", "did you mean 'cli-x'?"]),
    call(TRANSACTION, "transaction describe cli-y cli-x cli-x")
        .prints("transactional id  cli-x\nstate             empty\n*\n*\n*\n*\n*\n*\n")
        .fails(&["error: there is no transactional id 'cli-y'"]),
    call(TRANSACTION, "transaction abort cli-x").fails(&["there is no terminal to ask", "-y"]),
    call(TRANSACTION, "transaction abort cli-x -y")
        .prints("TRANSACTION  STATUS\ncli-x        nothing is open\n"),
    call(TRANSACTION, "transaction abort cli-y -y")
        .fails(&["there is no transactional id 'cli-y'", "did you mean 'cli-x'?"]),
    call(TRANSACTION, "transaction abort cli-x cli-y --yes")
        .prints("TRANSACTION  STATUS\ncli-x        nothing is open\ncli-y        failed: TRANSACTIONAL_ID_NOT_FOUND*\n")
        .fails(&["error: 1 of 2 transactions were not ended", "klamm transaction list"]),
    call(TRANSACTION, "transaction abort -t cli-t -p 0 --start-offset 0 -y")
        .fails(&[
            "no transaction that is open in cli-t-0 begins at offset 0",
            "klamm transaction find-hanging -t cli-t",
        ]),
    call(TRANSACTION, "transaction abort -t cli-t -p 0").usage(&["--start-offset"]),
    call(TRANSACTION, "transaction find-hanging").prints(
        "TOPIC  PARTITION  START  PRODUCER  EPOCH  COORDINATOR EPOCH  LAST WRITTEN  QUIET FOR\n",
    ),
    call(TRANSACTION, "transaction find-hanging --topic cli-t:0 --max-timeout 1s -o json").prints("[]\n"),
    call(TRANSACTION, "transaction find-hanging -t cli-t:7").fails(&["has no partition 7"]),
    call(TRANSACTION, "topic delete cli-t").prints("TOPIC  STATUS\ncli-t  deleted\n"),
];
