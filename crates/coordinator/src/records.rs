//! The typed records of an internal topic, made from Kafka's keys and values.
//!
//! Always holds: every version of a value that Kafka ever wrote can be read; what is written is what a 4.4 broker writes. Bytes
//! end in a record or in an [`InvalidRecord`](crate::InvalidRecord), whatever they are.
//!
//! Next: `group/record.rs`, `transaction/record.rs` for the lists.

/// Makes an enum of records out of a list of `Variant(Key, Value) |value| version to write;`.
macro_rules! coordinator_records {
    (
        $(#[$enum_doc:meta])* $name:ident {
            $($(#[$doc:meta])* $variant:ident($key:ident, $value:ident) $version:expr;)*
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $($(#[$doc])* $variant(
                klamm_protocol::coordinator_records::$key,
                Option<klamm_protocol::coordinator_records::$value>,
            ),)*
        }

        impl $crate::contract::CoordinatorRecord for $name {
            fn write(
                &self,
                w: &mut klamm_protocol::Writer,
            ) -> Result<$crate::contract::RecordExtent, klamm_protocol::EncodeError> {
                use klamm_protocol::record_frame::{encode_coordinator_key, encode_coordinator_value};
                let begin = w.total_len();
                match self {
                    $(Self::$variant(key, value) => {
                        encode_coordinator_key(w, key)?;
                        let key_end = w.total_len();
                        let version: fn(&klamm_protocol::coordinator_records::$value) -> i16 = $version;
                        if let Some(value) = value {
                            encode_coordinator_value(w, version(value), value)?;
                        }
                        Ok($crate::contract::RecordExtent {
                            key_bytes: key_end - begin,
                            value_bytes: value.is_some().then(|| w.total_len() - key_end),
                        })
                    })*
                }
            }

            fn decode(
                key: &bytes::Bytes,
                value: Option<&bytes::Bytes>,
            ) -> Result<Self, $crate::contract::InvalidRecord> {
                use $crate::contract::InvalidRecord;
                use klamm_protocol::record_frame::{coordinator_key_type, decode_coordinator_value};
                use klamm_protocol::{Message, Reader};

                let mut key = Reader::new(key.clone());
                let record_type = coordinator_key_type(&mut key).map_err(InvalidRecord::Key)?;
                $(if Some(record_type) == klamm_protocol::coordinator_records::$key::API_KEY {
                    let key = Message::decode(&mut key, 0).map_err(InvalidRecord::Key)?;
                    let value = value
                        .map(|value| decode_coordinator_value(&mut Reader::new(value.clone())))
                        .transpose()
                        .map_err(InvalidRecord::Value)?;
                    return Ok(Self::$variant(key, value));
                })*
                Err(InvalidRecord::UnknownType(record_type))
            }
        }
    };
}

pub(crate) use coordinator_records;
