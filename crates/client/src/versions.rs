//! Which versions of which APIs a broker serves, and which one to speak.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use klamm_protocol::ApiKey;
use klamm_protocol::messages::api_versions_response::ApiVersionsResponse;

/// No version of an API is known to both sides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The broker does not serve the API at all.
    #[error("the broker does not serve {api}, which this call needs (this client speaks versions {ours})")]
    NotServed {
        /// The API.
        api: ApiKey,
        /// The versions of this client.
        ours: Shown,
    },
    /// The broker serves other versions.
    #[error("the broker serves versions {theirs} of {api}, this call needs one of {ours}")]
    Disjoint {
        /// The API.
        api: ApiKey,
        /// The versions of this client.
        ours: Shown,
        /// The versions of the broker.
        theirs: Shown,
    },
}

/// A range of versions, written `0-13`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.min, self.max)
    }
}

impl From<RangeInclusive<i16>> for Shown {
    fn from(range: RangeInclusive<i16>) -> Self {
        Self {
            min: *range.start(),
            max: *range.end(),
        }
    }
}

/// What a broker said about itself when the connection began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiVersions {
    ranges: BTreeMap<i16, (i16, i16)>,
    features: BTreeMap<String, i16>,
}

impl ApiVersions {
    /// The highest version of `api` that both sides have, where this side has `ours`.
    pub fn pick(&self, api: ApiKey, ours: RangeInclusive<i16>) -> Result<i16, VersionError> {
        let shown = Shown::from(ours);
        let Some((min, max)) = self.ranges.get(&api.to_i16()).copied() else {
            return Err(VersionError::NotServed { api, ours: shown });
        };
        let highest = shown.max.min(max);
        if highest < shown.min.max(min) {
            return Err(VersionError::Disjoint {
                api,
                ours: shown,
                theirs: Shown { min, max },
            });
        }
        Ok(highest)
    }

    /// The versions of `api` that the broker serves.
    pub fn served(&self, api: ApiKey) -> Option<RangeInclusive<i16>> {
        let (min, max) = self.ranges.get(&api.to_i16())?;
        Some(*min..=*max)
    }

    /// The finalized features and their levels.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }
}

impl From<&ApiVersionsResponse> for ApiVersions {
    fn from(response: &ApiVersionsResponse) -> Self {
        Self {
            ranges: response
                .api_keys
                .iter()
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect(),
            features: response
                .finalized_features
                .iter()
                .map(|feature| (feature.name.to_string(), feature.max_version_level))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(min: i16, max: i16) -> ApiVersions {
        ApiVersions {
            ranges: BTreeMap::from([(ApiKey::Fetch.to_i16(), (min, max))]),
            features: BTreeMap::new(),
        }
    }

    #[test]
    fn the_highest_common_version_is_picked() {
        let cases = [
            ((0, 20), 4..=18, Some(18)),
            ((4, 11), 4..=18, Some(11)),
            ((0, 4), 4..=18, Some(4)),
        ];
        for ((min, max), ours, picked) in cases {
            assert_eq!(versions(min, max).pick(ApiKey::Fetch, ours).ok(), picked);
        }
    }

    #[test]
    fn what_cannot_be_spoken_names_both_ranges() {
        let error = versions(0, 3).pick(ApiKey::Fetch, 4..=18).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the broker serves versions 0-3 of Fetch, this call needs one of 4-18"
        );
        let error = versions(0, 3).pick(ApiKey::Produce, 3..=13).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the broker does not serve Produce, which this call needs (this client speaks versions 3-13)"
        );
    }
}
