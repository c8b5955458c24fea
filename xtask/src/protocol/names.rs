//! How Kafka's names become Rust's.

/// `TopicId` and `topicId` to `topic_id`, `KRaftVersion` to `k_raft_version`, `V3AndBelow` to `v3_and_below`.
pub(super) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_lower = i > 0 && !chars[i - 1].is_uppercase();
        let before_lower = i > 0 && chars.get(i + 1).is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && (after_lower || before_lower) {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// The name of a field: [`snake`], with what Rust needs around its own words.
pub(super) fn field(name: &str) -> String {
    let name = snake(name);
    match name.as_str() {
        "type" | "match" | "ref" | "move" | "static" | "in" | "use" | "where" | "loop" | "final" => {
            format!("r#{name}")
        }
        _ => name,
    }
}

/// The name of a struct: Kafka's, which may begin with a small letter.
pub(super) fn upper_first(name: &str) -> String {
    let mut chars = name.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_become_snake() {
        let cases = [
            ("TopicId", "topic_id"),
            ("topicId", "topic_id"),
            ("KRaftVersionFeature", "k_raft_version_feature"),
            ("V3AndBelowTopics", "v3_and_below_topics"),
            ("Enable2Pc", "enable2_pc"),
            ("Type", "r#type"),
            ("metadata", "metadata"),
        ];
        for (kafka, rust) in cases {
            assert_eq!(super::field(kafka), rust);
        }
    }
}
