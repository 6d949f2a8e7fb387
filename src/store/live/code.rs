//! How values look in a store: one line of order, then JSON. A later version may add fields, and reads what lacks them.
//!
//! `7 9f86d081884c7d65 edge-0 {"state":"Available",…}`: its place, in which series, whose it is, and what it says. Within a
//! series a lower place never takes the place of a higher one.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::{Binding, LiveError, Presence};

/// What a script must know of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order<'a> {
    /// Within the series.
    pub place: u64,
    /// Which. Another one takes the place of whatever is there.
    pub series: &'a str,
    /// Whose it is.
    pub owner: &'a str,
}

/// Where nothing has an order.
pub const NO_SERIES: &str = "-";

/// A series of a binding: REGISTERs of one Call-ID.
pub fn series(binding: &Binding) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, binding.call_id.as_bytes());
    digest.as_ref().iter().take(8).map(|octet| format!("{octet:02x}")).collect()
}

/// The order of a presence.
pub fn of_presence(presence: &Presence) -> Order<'_> {
    Order { place: presence.order, series: NO_SERIES, owner: &presence.edge }
}

/// A value as it is stored.
pub fn encode(order: Order<'_>, value: &impl Serialize) -> Vec<u8> {
    let mut octets = format!("{} {} {} ", order.place, order.series, order.owner).into_bytes();
    // Strings, numbers and maps by strings always become JSON.
    octets.extend(serde_json::to_vec(value).unwrap_or_default());
    octets
}

/// The order of a stored value, and where what it says begins.
pub fn order(octets: &[u8]) -> Option<(Order<'_>, &[u8])> {
    let mut parts = octets.splitn(4, |octet| *octet == b' ');
    let mut text = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let place = text().filter(|digits| digits.bytes().all(|octet| octet.is_ascii_digit()))?;
    let (place, series, owner) = (place.parse().ok()?, text()?, text()?);
    Some((Order { place, series, owner }, parts.next()?))
}

/// What a stored value says.
pub fn decode<T: DeserializeOwned>(what: &str, octets: &[u8]) -> Result<T, LiveError> {
    let broken = |why: String| LiveError::Broken { what: what.to_owned(), why };
    let (_, value) = order(octets).ok_or_else(|| broken("it does not begin with its order".into()))?;
    serde_json::from_slice(value).map_err(|error| broken(error.to_string()))
}

/// Whole milliseconds, and at least one.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::btree_map, collection::vec, option, prelude::*};

    use super::*;
    use crate::live::{Ban, Counts, Socket};

    prop_compose! {
        fn bindings()(
            (id, edge, flow) in (".{0,40}", "[a-z0-9.-]{1,20}", ".{0,40}"),
            (contact, path) in (".{0,80}", vec(".{0,40}", 0..4)),
            q in any::<u16>(),
            device in option::of((".{0,40}", any::<u32>())),
            (call_id, cseq) in (".{0,40}", any::<u32>()),
        ) -> Binding {
            Binding { id, edge, flow, contact, path, q, device, call_id, cseq }
        }
    }

    fn holds<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(order_of: Order<'_>, value: &T) {
        let stored = encode(order_of, value);
        assert_eq!(order(&stored).unwrap().0, order_of);
        assert_eq!(&decode::<T>("it", &stored).unwrap(), value);
    }

    proptest! {
        #[test]
        fn bindings_are_read_as_they_were_written(binding in bindings()) {
            let series = series(&binding);
            holds(Order { place: u64::from(binding.cseq), series: &series, owner: &binding.edge }, &binding);
        }

        #[test]
        fn presences_are_read_as_they_were_written(
            (edge, state) in ("[a-z0-9.-]{1,20}", ".{0,30}"),
            reason in option::of(".{0,60}"),
            (since_ms, order) in (any::<i64>(), any::<u64>()),
        ) {
            let presence = Presence { edge, state, reason, since_ms, order };
            holds(of_presence(&presence), &presence);
        }

        #[test]
        fn all_else_is_read_as_it_was_written(
            (edge, id, session) in ("[a-z0-9.-]{1,20}", ".{1,20}", ".{1,20}"),
            values in btree_map(".{1,20}", any::<u64>(), 0..8),
            (address, count) in (any::<std::net::IpAddr>(), any::<u32>()),
        ) {
            let order = Order { place: 0, series: NO_SERIES, owner: &edge };
            holds(order, &Socket { id, edge: edge.clone(), session });
            holds(order, &Counts { edge: edge.clone(), values });
            holds(order, &Ban { address, count });
        }

        #[test]
        fn whatever_else_is_there_is_an_error_that_says_where(octets in vec(any::<u8>(), 0..200)) {
            if let Err(error) = decode::<BTreeMap<String, u64>>("counts of edge-0", &octets) {
                prop_assert!(error.to_string().starts_with("counts of edge-0: "), "{error}");
            }
        }
    }

    #[test]
    fn a_later_version_may_add_fields() {
        let stored = br#"3 - edge-0 {"edge":"edge-0","state":"Away","since_ms":5,"order":3,"mood":"good"}"#;
        let presence: Presence = decode("it", stored).unwrap();
        assert_eq!((presence.state.as_str(), presence.reason), ("Away", None));
    }

    #[test]
    fn a_value_without_order_is_broken() {
        for stored in ["", "1", "1 a", "1 a b", "x a b {}", "-1 a b {}", "+1 a b {}"] {
            let error = decode::<BTreeMap<String, u64>>("it", stored.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "it: it does not begin with its order", "{stored:?}");
        }
    }
}
