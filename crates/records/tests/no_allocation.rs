//! Validating a batch allocates nothing once the scratch memory is warm. Alone in its process, whose allocations it counts.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use klamm_model::{Offset, TimestampMs};
use klamm_records::{BatchBuilder, Compression, Origin, Rules, Scratch, TimestampType, validate};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_warm_validation_allocates_nothing() {
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec);
        for value in 0..2000_i64 {
            builder.append(
                TimestampMs(value),
                Some(&value.to_be_bytes()),
                Some(&[0; 100]),
                &[(b"h", None)],
            );
        }
        let mut frame = BytesMut::from(&builder.build(Offset(0)).unwrap()[..]);
        frame.reserve(1000);
        let rest = frame.split_off(frame.len());
        let bytes = frame.freeze();
        let mut scratch = Scratch::new();
        for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
            let origin = Origin::Client { produce_version: 13 };
            let rules = Rules {
                timestamp_type,
                ..Rules::defaults(origin, TimestampMs(2000))
            };
            drop(validate(&bytes, &rules, &mut scratch).unwrap());
            let before = ALLOCATIONS.get();
            for _ in 0..3 {
                drop(validate(&bytes, &rules, &mut scratch).unwrap());
            }
            assert_eq!(ALLOCATIONS.get() - before, 0, "{codec}");
        }
        drop(rest);
    }
}
