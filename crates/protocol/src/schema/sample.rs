//! Writes bytes by the tables of [`super`], without the generated code: random messages, and frames that are all array.
//!
//! Always holds: [`random`] is canonical, that is, decoding and encoding it again gives the same bytes; the same seed
//! gives the same bytes; [`dense`] gives what the densest input of a schema is made of.

use super::{FieldKind, FieldSchema, MessageSchema};

/// Numbers that look random and follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Seed(pub u64);

impl Seed {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next_u64() % bound as u64) as usize
    }
}

/// A message with random values in all fields of `version`; `unknown_tags` adds tagged fields that no schema has.
pub fn random(schema: &MessageSchema, version: i16, seed: &mut Seed, unknown_tags: bool) -> Vec<u8> {
    let mut table = Table {
        schema,
        version,
        fill: Fill::Random { seed, unknown_tags },
    };
    let mut out = Vec::new();
    table.structure(0, 0, &mut out);
    out
}

/// A message whose every field is as short as it can be.
pub fn minimal(schema: &MessageSchema, version: i16) -> Vec<u8> {
    let mut out = Vec::new();
    Table {
        schema,
        version,
        fill: Fill::Minimal,
    }
    .structure(0, 0, &mut out);
    out
}

/// For every array that `version` has at any depth, a message of about `bytes` bytes that consists of elements of that
/// array, as short as they can be; and the same with an empty unknown tagged field in each, where there can be one.
pub fn dense(schema: &MessageSchema, version: i16, bytes: usize) -> Vec<(String, Vec<u8>)> {
    let mut table = Table {
        schema,
        version,
        fill: Fill::Minimal,
    };
    let mut frames = Vec::new();
    let mut paths = Vec::new();
    table.arrays(0, &mut Vec::new(), &mut paths);
    for path in paths {
        for tagged in [false, true] {
            if tagged && !schema.is_flexible(version) {
                continue;
            }
            let mut out = Vec::new();
            table.along(0, &path, tagged, bytes, &mut out);
            let names = path.iter().map(|field| field.name).collect::<Vec<_>>().join(".");
            frames.push((format!("{names}{}", if tagged { " with tags" } else { "" }), out));
        }
    }
    frames
}

enum Fill<'a> {
    Minimal,
    Random { seed: &'a mut Seed, unknown_tags: bool },
}

struct Table<'a> {
    schema: &'a MessageSchema,
    version: i16,
    fill: Fill<'a>,
}

/// Arrays within arrays get shorter, or messages would explode.
const MAX_RANDOM_DEPTH: usize = 4;

impl Table<'_> {
    fn flexible(&self) -> bool {
        self.schema.is_flexible(self.version)
    }

    fn fields(&self, index: usize) -> Vec<&'static FieldSchema> {
        let fields: &'static [FieldSchema] = self.schema.structs[index].fields;
        fields
            .iter()
            .filter(|f| f.versions.contains(&self.version))
            .collect()
    }

    fn structure(&mut self, index: usize, depth: usize, out: &mut Vec<u8>) {
        for field in self.fields(index).into_iter().filter(|f| f.tag.is_none()) {
            self.field(field, depth, out);
        }
        if self.flexible() {
            self.tags(index, depth, out);
        }
    }

    fn tags(&mut self, index: usize, depth: usize, out: &mut Vec<u8>) {
        let mut written = Vec::new();
        for field in self.fields(index) {
            let Some(tag) = field.tag else { continue };
            if let Some(value) = self.tagged_value(field, depth) {
                written.push((tag, value));
            }
        }
        if let Fill::Random {
            seed,
            unknown_tags: true,
        } = &mut self.fill
        {
            for tag in 0..seed.below(3) as u32 {
                let length = seed.below(5);
                written.push((100 + 1000 * tag, vec![seed.next_u64() as u8; length]));
            }
        }
        written.sort_by_key(|(tag, _)| *tag);
        varint(written.len(), out);
        for (tag, value) in written {
            varint(tag as usize, out);
            varint(value.len(), out);
            out.extend_from_slice(&value);
        }
    }

    /// A value that is not the default, since defaults are not written; sometimes none.
    fn tagged_value(&mut self, field: &FieldSchema, depth: usize) -> Option<Vec<u8>> {
        let Fill::Random { seed, .. } = &mut self.fill else {
            return None;
        };
        if seed.below(4) == 0 {
            return None;
        }
        let default = self.default_bytes(field);
        (0..20).find_map(|_| {
            let mut value = Vec::new();
            self.field(field, depth + 1, &mut value);
            (value != default).then_some(value)
        })
    }

    /// The default of a tagged field, as it would be written.
    fn default_bytes(&self, field: &FieldSchema) -> Vec<u8> {
        let mut out = Vec::new();
        if field.default == "null" {
            return vec![0];
        }
        match field.kind {
            FieldKind::Struct(index) => {
                if field.nullable.contains(&self.version) {
                    out.push(1);
                }
                self.default_struct(index, &mut out);
            }
            FieldKind::String | FieldKind::Bytes | FieldKind::Records | FieldKind::Array(_) => out.push(1),
            kind => number(kind, default_number(field) as u64, &mut out),
        }
        out
    }

    fn default_struct(&self, index: usize, out: &mut Vec<u8>) {
        for field in self.fields(index).into_iter().filter(|f| f.tag.is_none()) {
            if field.default == "null" {
                out.push(if matches!(field.kind, FieldKind::Struct(_)) {
                    0xff
                } else {
                    0
                });
            } else {
                out.extend(self.default_bytes(field));
            }
        }
        out.push(0);
    }

    fn field(&mut self, field: &FieldSchema, depth: usize, out: &mut Vec<u8>) {
        let nullable = field.nullable.contains(&self.version);
        let null = nullable
            && match &mut self.fill {
                Fill::Minimal => true,
                Fill::Random { seed, .. } => seed.below(4) == 0,
            };
        if let FieldKind::Struct(_) = field.kind
            && nullable
        {
            let (missing, present) = if field.tag.is_some() { (0, 1) } else { (0xff, 1) };
            out.push(if null { missing } else { present });
        }
        if !null {
            self.value(field.kind, depth, out);
        } else if !matches!(field.kind, FieldKind::Struct(_)) {
            match field.kind {
                _ if self.flexible() => out.push(0),
                FieldKind::String => out.extend((-1i16).to_be_bytes()),
                _ => out.extend((-1i32).to_be_bytes()),
            }
        }
    }

    fn value(&mut self, kind: FieldKind, depth: usize, out: &mut Vec<u8>) {
        match kind {
            FieldKind::Struct(index) => self.structure(index, depth, out),
            FieldKind::String => {
                let text: String = (0..self.count(12)).map(|i| ['a', 'é', '0', '✓'][i % 4]).collect();
                self.length(text.len(), 2, out);
                out.extend_from_slice(text.as_bytes());
            }
            FieldKind::Bytes | FieldKind::Records => {
                let length = self.count(40);
                self.length(length, 4, out);
                out.extend((0..length).map(|i| i as u8));
            }
            FieldKind::Array(element) => {
                let most = if depth < MAX_RANDOM_DEPTH { 4 } else { 1 };
                let count = self.count(most);
                self.length(count, 4, out);
                for _ in 0..count {
                    self.value(*element, depth + 1, out);
                }
            }
            FieldKind::Bool => {
                let value = self.count(2);
                out.push(value as u8);
            }
            number_kind => {
                let value = match &mut self.fill {
                    Fill::Minimal => 0,
                    Fill::Random { seed, .. } => match seed.below(4) {
                        0 => 0,
                        1 => u64::MAX,
                        _ => seed.next_u64(),
                    },
                };
                number(number_kind, value, out);
            }
        }
    }

    /// How many bytes or elements something of variable length has.
    fn count(&mut self, below: usize) -> usize {
        match &mut self.fill {
            Fill::Minimal => 0,
            Fill::Random { seed, .. } => seed.below(below),
        }
    }

    fn length(&self, length: usize, bytes: usize, out: &mut Vec<u8>) {
        match bytes {
            _ if self.flexible() => varint(length + 1, out),
            2 => out.extend((length as i16).to_be_bytes()),
            _ => out.extend((length as i32).to_be_bytes()),
        }
    }

    fn arrays(
        &self,
        index: usize,
        above: &mut Vec<&'static FieldSchema>,
        paths: &mut Vec<Vec<&'static FieldSchema>>,
    ) {
        for field in self.fields(index) {
            above.push(field);
            match field.kind {
                FieldKind::Array(element) => {
                    paths.push(above.clone());
                    if let FieldKind::Struct(inner) = *element {
                        self.arrays(inner, above, paths);
                    }
                }
                FieldKind::Struct(inner) => self.arrays(inner, above, paths),
                _ => {}
            }
            above.pop();
        }
    }

    /// A struct that is minimal but for the way to the array at the end of `path`.
    fn along(
        &mut self,
        index: usize,
        path: &[&'static FieldSchema],
        tagged: bool,
        bytes: usize,
        out: &mut Vec<u8>,
    ) {
        let next = path[0];
        for field in self.fields(index).into_iter().filter(|f| f.tag.is_none()) {
            if std::ptr::eq(field, next) {
                self.enter(path, tagged, bytes, out);
            } else {
                self.field(field, 0, out);
            }
        }
        if let Some(tag) = next.tag {
            let mut value = Vec::new();
            self.enter(path, tagged, bytes, &mut value);
            varint(1, out);
            varint(tag as usize, out);
            varint(value.len(), out);
            out.extend_from_slice(&value);
        } else if self.flexible() {
            out.push(0);
        }
    }

    fn enter(&mut self, path: &[&'static FieldSchema], tagged: bool, bytes: usize, out: &mut Vec<u8>) {
        let field = path[0];
        let rest = &path[1..];
        match field.kind {
            FieldKind::Struct(index) => {
                if field.nullable.contains(&self.version) {
                    out.push(1);
                }
                self.along(index, rest, tagged, bytes, out);
            }
            FieldKind::Array(element) if rest.is_empty() => {
                let mut one = Vec::new();
                self.value(*element, 0, &mut one);
                if tagged && matches!(element, FieldKind::Struct(_)) {
                    // In place of "no tagged fields": one, with a number that no schema has, and empty.
                    one.pop();
                    one.extend([1, 0xff, 0x7f, 0]);
                }
                let count = (bytes / one.len()).min(klamm_model::limits::MAX_ARRAY_ELEMENTS);
                self.length(count, 4, out);
                out.extend(one.repeat(count));
            }
            FieldKind::Array(element) => {
                self.length(1, 4, out);
                let FieldKind::Struct(index) = *element else {
                    unreachable!("paths go on through structs only")
                };
                self.along(index, rest, tagged, bytes, out);
            }
            _ => unreachable!("paths consist of structs and arrays"),
        }
    }
}

fn default_number(field: &FieldSchema) -> i64 {
    match field.default {
        "" => 0,
        "true" => 1,
        text => text.parse().expect("the generator wrote a number"),
    }
}

fn number(kind: FieldKind, value: u64, out: &mut Vec<u8>) {
    match kind {
        FieldKind::Bool | FieldKind::Int8 => out.push(value as u8),
        FieldKind::Int16 | FieldKind::Uint16 => out.extend((value as u16).to_be_bytes()),
        FieldKind::Int32 | FieldKind::Uint32 => out.extend((value as u32).to_be_bytes()),
        FieldKind::Int64 | FieldKind::Float64 => out.extend(value.to_be_bytes()),
        FieldKind::Uuid => out.extend([value.to_be_bytes(), value.rotate_left(17).to_be_bytes()].concat()),
        FieldKind::String
        | FieldKind::Bytes
        | FieldKind::Records
        | FieldKind::Struct(_)
        | FieldKind::Array(_) => unreachable!("values of variable size are written by the caller"),
    }
}

fn varint(value: usize, out: &mut Vec<u8>) {
    let mut value = value as u32;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
