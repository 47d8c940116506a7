//! Values that Docker writes as text, lists of pairs, or maps that keep their order.

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use isula_core::{
    container::{CgroupMode, Connection, LogDriver, NamespaceMode, NetworkMode, Propagation},
    id::{ContainerId, Name},
    signal::Signal,
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
    ser::SerializeMap,
};

/// A value with a text form.
pub(super) trait Text: Sized {
    /// Its text.
    fn text(&self) -> String;
    /// The value of a text.
    fn parse(text: &str) -> Option<Self>;
}

/// For `#[serde(with)]`: a [`Text`] as a JSON string.
pub(super) mod as_text {
    use super::{Deserialize, Deserializer, Serializer, Text, de};

    pub(in super::super) fn serialize<T: Text, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.text())
    }

    pub(in super::super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(from)?;
        T::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} has no meaning here")))
    }
}

const JOIN: &str = "container:";

impl Text for NetworkMode {
    fn text(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "host" => Some(Self::Host),
            other if other.starts_with(JOIN) => joined(other).map(Self::Container),
            other => {
                let name = Name::try_from(other.to_owned()).ok()?;
                Some(Self::Network(Box::new(Connection::to(name))))
            }
        }
    }
}

impl Text for NamespaceMode {
    fn text(&self) -> String {
        match self {
            Self::Private => "private".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Container(id) => format!("{JOIN}{id}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "private" => Some(Self::Private),
            "host" => Some(Self::Host),
            other => joined(other).map(Self::Container),
        }
    }
}

fn joined(text: &str) -> Option<ContainerId> {
    ContainerId::try_from(text.strip_prefix(JOIN)?.to_owned()).ok()
}

impl Text for Option<CgroupMode> {
    fn text(&self) -> String {
        match self {
            None => "",
            Some(CgroupMode::Private) => "private",
            Some(CgroupMode::Host) => "host",
        }
        .to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" => Some(None),
            "private" => Some(Some(CgroupMode::Private)),
            "host" => Some(Some(CgroupMode::Host)),
            _ => None,
        }
    }
}

const PROPAGATIONS: [(Propagation, &str); 6] = [
    (Propagation::Rprivate, "rprivate"),
    (Propagation::Private, "private"),
    (Propagation::Rshared, "rshared"),
    (Propagation::Shared, "shared"),
    (Propagation::Rslave, "rslave"),
    (Propagation::Slave, "slave"),
];

#[cfg(test)]
pub(super) fn propagations() -> impl Iterator<Item = (&'static str, Propagation)> {
    PROPAGATIONS.iter().map(|(value, text)| (*text, *value))
}

impl Text for Propagation {
    fn text(&self) -> String {
        let known = PROPAGATIONS.iter().find(|(value, _)| value == self);
        known.map_or("rprivate", |(_, text)| text).to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        PROPAGATIONS.iter().find(|(_, known)| *known == text).map(|(value, _)| *value)
    }
}

impl Text for LogDriver {
    fn text(&self) -> String {
        match self {
            Self::JsonFile => "json-file",
            Self::None => "none",
        }
        .to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "json-file" => Some(Self::JsonFile),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

impl Text for Option<Signal> {
    fn text(&self) -> String {
        let Some(signal) = self else { return String::new() };
        let name = signal.to_string();
        // Signals 32 and 33, which the C library keeps for itself, have no name that reads back.
        if name.parse() == Ok(*signal) { name } else { signal.number().to_string() }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    }
}

/// For `#[serde(with)]`: a list as the keys of a map (Docker's sets, `{"80/tcp": {}}`), in order.
pub(super) mod keys {
    use super::{Deserializer, Ordered, PhantomData, SerializeMap, Serializer};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Empty {}

    pub(in super::super) fn serialize<S: Serializer>(
        list: &[String],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(list.len()))?;
        for key in list {
            map.serialize_entry(key, &Empty {})?;
        }
        map.end()
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<String>, D::Error> {
        let pairs = from.deserialize_map(Ordered::<Empty>(PhantomData))?;
        Ok(pairs.into_iter().map(|(key, _)| key).collect())
    }
}

/// Reads a map into pairs, in the order of the text.
pub(super) struct Ordered<V>(pub(super) PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for Ordered<V> {
    type Value = Vec<(String, V)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

/// For `#[serde(with)]`: whole seconds, Docker's `StopTimeout` (no interface takes fractions).
pub(super) mod seconds {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|duration| duration.as_secs()).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}

/// For `#[serde(with)]`: nanoseconds, as Docker writes the times of a health check.
pub(super) mod nanoseconds {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_nanos)
    }
}

/// For `#[serde(with)]`: a limit; -1 is unlimited.
pub(super) mod limit {
    use super::{Deserializer, Serializer, Visitor, de, fmt};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &u64,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        if *value == u64::MAX { to.serialize_i64(-1) } else { to.serialize_u64(*value) }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
        struct Limit;
        impl Visitor<'_> for Limit {
            type Value = u64;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a limit, or -1 for none")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
                match value {
                    -1 => Ok(u64::MAX),
                    other => u64::try_from(other)
                        .map_err(|_| E::invalid_value(de::Unexpected::Signed(other), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
                Ok(value)
            }
        }
        from.deserialize_any(Limit)
    }
}

/// For `#[serde(with)]`: Docker's list of huge page limits.
pub(super) mod hugetlb {
    use super::{BTreeMap, Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entry {
        page_size: String,
        limit: u64,
    }

    pub(in super::super) fn serialize<S: Serializer>(
        limits: &BTreeMap<String, u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            limits.iter().map(|(size, limit)| Entry { page_size: size.clone(), limit: *limit }),
        )
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, u64>, D::Error> {
        let entries = Vec::<Entry>::deserialize(from)?;
        Ok(entries.into_iter().map(|entry| (entry.page_size, entry.limit)).collect())
    }
}
