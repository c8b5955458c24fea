//! Keys that only Klamm has.
//!
//! Always holds: they begin with `klamm.`; there are few, and each says something that no key of Kafka says.
//! Next: `broker.rs`.

use super::keys;
use crate::key::{Key, Scope, Update};

/// The keys of a broker.
pub(super) static KEYS: &[Key] = keys! {
    Scope::Broker(Update::ReadOnly);
    String "klamm.durability" = "fsync", one_of(&["fsync", "page-cache"]), high, cluster_wide, served;
        "When a record counts as stored: on disk (fsync) or in the system's page cache; the default of \
         topics."
    String "klamm.http.listener" = "127.0.0.1:9644", served;
        "Address of metrics and health, HOST:PORT; empty turns it off."
    Long "klamm.journal.file.bytes" = "67108864", between(1048576, 1073741824), bytes, served;
        "Size of a file of the journal, through which commits of several partitions become durable together. Files are made when they are first of use, and written over afterwards."
    Long "klamm.journal.max.bytes" = "268435456", at_least(0), bytes, served;
        "Bytes that the journal files of one log dir may have together. While none is free, and when this is less than one file,          commits sync the segments."
    String "klamm.log.dirs.unformatted" = "refuse", one_of(&["refuse", "format"]), served;
        "What the start does with an empty log dir when others have data: it may be a disk that is not mounted, and is left \
         out of service while the others serve (refuse), or a new one (format)."
    Long "klamm.memory.request.bytes" = "536870912", at_least(1048576), bytes, served;
        "Memory for requests that are being read or served. When it is used up, reading waits, and a client that owes the \
         rest of a request for 10 s is closed, the one that has owed it for longest first."
    Int "klamm.open.files.max" = "0", at_least(0), served;
        "Log files kept open at once; 0 takes half of the process's limit on open files."
    Long "klamm.scrub.bytes.per.second" = "10485760", at_least(0), bytes, served;
        "How fast sealed segments are read again, at most, to find bits that flipped on the device; 0 turns it off. The default \
         is 6 TB in a week, and less than a tenth of what a slow disk reads."
    Long "klamm.scrub.interval.ms" = "604800000", at_least(1000), ms, served;
        "Time in which all sealed segments are to be read again once, as slowly as that allows."
    Int "klamm.workers" = "0", between(0, 1024), served;
        "Threads that read, execute and answer requests; 0 takes one for each core."
};

/// The keys of a topic.
pub(super) static TOPIC_KEYS: &[Key] = keys! {
    Scope::Topic;
    String "klamm.durability" = "fsync", one_of(&["fsync", "page-cache"]), high,
        inherits("klamm.durability"), served;
        "When a record counts as stored: on disk (fsync) or in the system's page cache."
};
