//! The states of a transactional id: the words of the command line, and those of brokers.

use clap::ValueEnum;

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    /// A producer has begun, and has written nothing yet
    Empty,
    /// A transaction is open
    Ongoing,
    /// It is being committed: markers are written
    PrepareCommit,
    /// It is being aborted: markers are written
    PrepareAbort,
    /// The last one was committed
    CompleteCommit,
    /// The last one was aborted
    CompleteAbort,
    /// Another producer has begun, and what the one before left open is aborted first
    PrepareEpochFence,
    /// It has expired
    Dead,
}

impl State {
    const ALL: [State; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::PrepareEpochFence,
        Self::Dead,
    ];

    /// As brokers call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::PrepareEpochFence => "PrepareEpochFence",
            Self::Dead => "Dead",
        }
    }

    /// The state that a broker calls so.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A broker's word for a state as it is written here, in every format; one that is not known stays as it is.
pub(super) fn shown(name: &str) -> String {
    let known = State::named(name).and_then(|state| state.to_possible_value());
    known.map_or_else(|| name.to_owned(), |value| value.get_name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_asked_for() {
        for state in State::ALL {
            let word = shown(state.name());
            assert_eq!(State::from_str(&word, false), Ok(state), "{word}");
        }
        assert_eq!(shown("PrepareCommit"), "prepare-commit");
        assert_eq!(shown("Another"), "Another");
        assert_eq!(State::ALL.len(), State::value_variants().len());
    }
}
