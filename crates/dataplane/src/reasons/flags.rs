//! Response flags, by the names that Envoy gives them (TE-05).

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Response flags of one exchange, in the order in which they were set, as Envoy writes them. Five bits for each, the first in the lowest bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Flags(u64);

macro_rules! flags {
    ($($name:ident $long:literal $meaning:literal)*) => {
        /// Short and long names of flags, and their meanings.
        const FLAGS: &[(Flags, &str, &str, &str)] = &[$((Flags::$name, stringify!($name), $long, $meaning)),*];

        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the field's names")]
        enum FlagCode { None, $($name),* }

        impl Flags {
            $(#[doc = $meaning] pub(crate) const $name: Self = Self(FlagCode::$name as u64);)*
        }
    };
}

flags! {
    UH "NoHealthyUpstream" "there is no endpoint that may be used"
    UT "UpstreamRequestTimeout" "the time of the route or of the attempt is over"
    UF "UpstreamConnectionFailure" "no connection to the endpoint could be made"
    UC "UpstreamConnectionTermination" "the endpoint closed the connection"
    UO "UpstreamOverflow" "the cluster has as many connections, requests or retries as it may have"
    NR "NoRouteFound" "no host or rule takes the request"
    DI "DelayInjected" "a fault made the request wait"
    FI "FaultInjected" "a fault answered the request"
    DC "DownstreamConnectionTermination" "the client closed the connection"
    URX "UpstreamRetryLimitExceeded" "there were as many attempts as there may be"
    SI "StreamIdleTimeout" "nothing came for too long"
    DPE "DownstreamProtocolError" "the client broke the protocol"
    DT "DurationTimeout" "the time of the connection is over"
    UPE "UpstreamProtocolError" "the endpoint broke the protocol"
    UAEX "UnauthorizedExternalService" "the service for authorization denied the request, or had no decision"
    NC "NoClusterFound" "the destination does not exist"
    OM "OverloadManagerTerminated" "the gateway closed the connection to bound what it holds"
}

const CODE_BITS: u32 = 5;
const CODE: u64 = (1 << CODE_BITS) - 1;
const _: () = assert!(FLAGS.len() <= CODE as usize);

impl Flags {
    /// None.
    pub(crate) const NONE: Self = Self(FlagCode::None as u64);

    /// One by one.
    fn each(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.0), |rest| Some(rest >> CODE_BITS))
            .map(|rest| rest & CODE)
            .take_while(|code| *code > 0)
            .map(Self)
    }

    /// Names, joined by commas; `-` where there are none.
    fn join(self, name: fn(&(Self, &'static str, &'static str, &'static str)) -> &'static str) -> FlagText {
        let mut text = FlagText { bytes: [0; FlagText::ROOM], length: 0 };
        for found in self.each().filter_map(|flag| FLAGS.iter().find(|(known, ..)| *known == flag)) {
            if text.length > 0 {
                text.push(",");
            }
            text.push(name(found));
        }
        if text.length == 0 {
            text.push("-");
        }
        text
    }

    /// Whether something failed: a delay that a fault made is no failure.
    pub(crate) fn is_failure(self) -> bool {
        self.each().any(|own| own != Self::DI)
    }

    /// The short names.
    pub(crate) fn text(self) -> FlagText {
        self.join(|(_, short, ..)| short)
    }

    /// The long names.
    pub(crate) fn long_text(self) -> FlagText {
        self.join(|(_, _, long, _)| long)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(mut self, other: Self) -> Self {
        if self == Self::NONE || other == Self::NONE {
            return Self(self.0 | other.0);
        }
        for flag in other.each() {
            let count = self.each().count() as u32;
            if !self.each().any(|own| own == flag) && count < u64::BITS / CODE_BITS {
                self.0 |= flag.0 << (count * CODE_BITS);
            }
        }
        self
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
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
    /// For the long names of five flags and the short names of all; further ones are left out.
    const ROOM: usize = 160;

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
    fn te_05_flags_are_written_in_the_order_in_which_they_were_set() {
        assert_eq!(Flags::NONE.to_string(), "-");
        assert_eq!((Flags::NONE | Flags::UF).to_string(), "UF");
        assert_eq!((Flags::DI | Flags::URX | Flags::UF | Flags::URX).to_string(), "DI,URX,UF");
        assert_eq!((Flags::URX | (Flags::URX | Flags::UC)).to_string(), "URX,UC");
        let most = FLAGS.iter().fold(Flags::NONE, |all, (flag, ..)| all | *flag);
        let names: Vec<_> = FLAGS.iter().take(12).map(|(_, name, ..)| *name).collect();
        assert_eq!(most.to_string(), names.join(","));
        let long = (Flags::URX | Flags::UC).long_text();
        assert_eq!(long.as_str(), "UpstreamRetryLimitExceeded,UpstreamConnectionTermination");
    }

    /// The table of the documents is the one here.
    #[test]
    fn te_05_every_flag_is_explained_in_the_documents() {
        let page = include_str!("../../../../docs/flags.md");
        for (_, name, _, meaning) in FLAGS {
            assert!(page.contains(&format!("| `{name}` | {meaning} |")), "docs/flags.md lacks `{name}` | {meaning}");
        }
    }
}
