//! The one error type: a variant for each decision that a caller can take.

use std::fmt::Display;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done. Messages name the file or operation, the place, what was found and what was wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written at all.
    #[error("{file}: {source}")]
    Io {
        /// The file's name as the user gave it.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file was read, and is not what it should be.
    #[error("{file}: {place}: {problem}")]
    File {
        /// The file's name as the user gave it.
        file: String,
        /// The dataset, tensor, key or line.
        place: String,
        /// What was found and what was wanted.
        problem: String,
    },
    /// The caller passed something that the operation cannot take.
    #[error("{operation}: {argument}: {problem}")]
    Argument {
        /// The operation that refused.
        operation: &'static str,
        /// The name of its argument.
        argument: &'static str,
        /// What it got and what it wanted.
        problem: String,
    },
    /// No device fits what was asked for.
    #[error("no device: {0}")]
    NoDevice(String),
    /// The device could not do an operation, or did it wrongly.
    #[error("{device}: {operation}: {problem}")]
    Device {
        /// The adapter's name.
        device: String,
        /// The kernel or step.
        operation: String,
        /// What the driver or the check said.
        problem: String,
    },
    /// The device was lost (driver reset, unplugged, taken away); it can be opened again.
    #[error("{device}: the device was lost: {reason}")]
    DeviceLost {
        /// The adapter's name.
        device: String,
        /// What the driver said.
        reason: String,
    },
    /// There was not as much memory as something asked for: fewer cells at a time may do.
    #[error("{place}: {problem}")]
    Memory {
        /// The device or the step.
        place: String,
        /// What was asked for.
        problem: String,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// A short, stable name of the variant, for callers in other languages.
    ///
    /// ```
    /// assert_eq!(scdiva::Error::Cancelled.code(), "cancelled");
    /// ```
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::File { .. } => "file",
            Self::Argument { .. } => "argument",
            Self::NoDevice(_) => "no-device",
            Self::Device { .. } => "device",
            Self::DeviceLost { .. } => "device-lost",
            Self::Memory { .. } => "memory",
            Self::Cancelled => "cancelled",
        }
    }

    /// A [`Error::File`]: what is wrong, and where.
    pub fn file(file: impl Display, place: impl Display, problem: impl Display) -> Self {
        Self::File {
            file: file.to_string(),
            place: place.to_string(),
            problem: problem.to_string(),
        }
    }

    /// A [`Error::Memory`].
    pub fn memory(place: impl Display, problem: impl Display) -> Self {
        Self::Memory {
            place: place.to_string(),
            problem: problem.to_string(),
        }
    }

    /// Of a [`Error::File`]: that memory, not the file, is at fault.
    pub(crate) fn for_lack_of_memory(self) -> Self {
        match self {
            Self::File { file, place, problem } => Self::memory(format_args!("{file}: {place}"), problem),
            other => other,
        }
    }

    /// A [`Error::Argument`].
    pub fn argument(operation: &'static str, argument: &'static str, problem: impl Display) -> Self {
        Self::Argument {
            operation,
            argument,
            problem: problem.to_string(),
        }
    }
}
