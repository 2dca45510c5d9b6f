//! Response flags, by the names that Envoy gives them (TE-05).

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Response flags of one exchange: a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Flags(u32);

macro_rules! flags {
    ($($name:ident $meaning:literal)*) => {
        /// Short names in the order in which Envoy writes them, and their meanings.
        const FLAGS: &[(Flags, &str, &str)] = &[$((Flags::$name, stringify!($name), $meaning)),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the field's names")]
        enum FlagBit { $($name),* }

        impl Flags {
            $(#[doc = $meaning] pub(crate) const $name: Self = Self(1 << FlagBit::$name as u32);)*
        }
    };
}

flags! {
    UH "there is no endpoint that may be used"
    UT "the time of the route or of the attempt is over"
    UF "no connection to the endpoint could be made"
    UC "the endpoint closed the connection"
    UO "the cluster has as many connections, requests or retries as it may have"
    NR "no host or rule takes the request"
    DI "a fault made the request wait"
    FI "a fault answered the request"
    DC "the client closed the connection"
    URX "there were as many attempts as there may be"
    SI "nothing came for too long"
    DPE "the client broke the protocol"
    DT "the time of the connection is over"
    UPE "the endpoint broke the protocol"
    NC "the destination does not exist"
    OM "the gateway closed the connection to bound what it holds"
}

impl Flags {
    /// None.
    pub(crate) const NONE: Self = Self(0);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of all, joined by commas; `-` where there are none.
    pub(crate) fn text(self) -> FlagText {
        let mut text = FlagText { bytes: [0; FlagText::ROOM], length: 0 };
        for (_, name, _) in FLAGS.iter().filter(|(flag, ..)| self.has(*flag)) {
            if text.length > 0 {
                text.push(",");
            }
            text.push(name);
        }
        if text.length == 0 {
            text.push("-");
        }
        text
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// Names of flags, without memory of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlagText {
    bytes: [u8; Self::ROOM],
    length: usize,
}

impl FlagText {
    /// For all of them.
    const ROOM: usize = 64;

    fn push(&mut self, text: &str) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + text.len()) {
            room.copy_from_slice(text.as_bytes());
            self.length += text.len();
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te_05_flags_are_written_in_envoys_order_whatever_came_first() {
        assert_eq!(Flags::NONE.to_string(), "-");
        assert_eq!((Flags::URX | Flags::UF | Flags::DI).to_string(), "UF,DI,URX");
        assert_eq!((Flags::UPE | Flags::UO).to_string(), "UO,UPE");
        let all = FLAGS.iter().fold(Flags::NONE, |all, (flag, ..)| all | *flag);
        let names: Vec<_> = FLAGS.iter().map(|(_, name, _)| *name).collect();
        assert_eq!(all.to_string(), names.join(","));
    }

    /// The table of the documents is the one here.
    #[test]
    fn te_05_every_flag_is_explained_in_the_documents() {
        let page = include_str!("../../../../docs/flags.md");
        for (_, name, meaning) in FLAGS {
            assert!(page.contains(&format!("| `{name}` | {meaning} |")), "docs/flags.md lacks `{name}` | {meaning}");
        }
    }
}
