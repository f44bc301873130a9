//! By what are streams spread over shards? What somebody chooses once, when a database is made.

use serde::Deserialize;
use serde::Serialize;

use crate::Error;

/// How streams are spread over the shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Strategy {
    /// By a hash of the partition key: slot modulo shards.
    Hash,
    /// By consistent hashing: each shard has as many of the slots as its weight says, and another shard would take its share from all.
    Ring {
        /// One for each shard, 1 to 100. None: all the same.
        #[serde(default)]
        weights: Vec<u32>,
    },
    /// By the order of partition keys: shard 0 has those before the first split point, the next those from it on, and so forth.
    Range {
        /// In ascending order of their bytes, one less than there are shards.
        #[serde(default)]
        splits: Vec<String>,
    },
    /// By the region that the partition key names. Within a region: by hash.
    Geo {
        /// Each with its shards, and the keys that belong to it.
        #[serde(default)]
        regions: Vec<Region>,
        /// Where keys go that belong to no region. `None`: nowhere, what would write such a stream is refused.
        #[serde(default)]
        default_region: Option<String>,
    },
}

/// Shards in one place, and what is kept there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// What it is called.
    pub name: String,
    /// Its shards, which are no other region's.
    pub shards: Vec<u16>,
    /// Patterns of partition keys; `*` stands for any text. The first region with one that matches has the key.
    #[serde(default)]
    pub keys: Vec<String>,
}

impl Strategy {
    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Ring { .. } => "ring",
            Self::Range { .. } => "range",
            Self::Geo { .. } => "geo",
        }
    }

    /// The one of this name, without what it may need.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "hash" => Some(Self::Hash),
            "ring" => Some(Self::Ring { weights: Vec::new() }),
            "range" => Some(Self::Range { splits: Vec::new() }),
            "geo" => Some(Self::Geo { regions: Vec::new(), default_region: None }),
            _ => None,
        }
    }

    /// How many shards it takes and the strategy with all that it needs, for a new database.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] names what is missing or does not go together.
    pub(crate) fn settled(self, shards: Option<u16>) -> Result<(u16, Self), Error> {
        let implied = match &self {
            Self::Hash => None,
            Self::Ring { weights } => (!weights.is_empty()).then_some(weights.len()),
            Self::Range { splits } => Some(splits.len() + 1),
            Self::Geo { regions, .. } => regions.iter().flat_map(|region| &region.shards).max().map(|last| usize::from(*last) + 1),
        };
        let count = match (shards, implied) {
            (Some(shards), None) => shards,
            (None, None) => 1,
            (Some(shards), Some(implied)) if usize::from(shards) == implied => shards,
            (Some(shards), Some(implied)) => {
                let detail = format!("is {shards}, and what the strategy {} is given makes {implied}", self.as_str());
                return Err(invalid("shards", detail));
            }
            (None, Some(implied)) => u16::try_from(implied).unwrap_or(u16::MAX),
        };
        if !(1..=SHARDS_MAX).contains(&count) {
            return Err(invalid("shards", format!("must be at least 1 and at most {SHARDS_MAX}")));
        }
        match &self {
            Self::Hash => {}
            Self::Ring { weights } => {
                if let Some(weight) = weights.iter().find(|weight| !(1..=WEIGHT_MAX).contains(*weight)) {
                    return Err(invalid("shards.weights", format!("{weight} must be from 1 to {WEIGHT_MAX}")));
                }
            }
            Self::Range { splits } => check_splits(splits)?,
            Self::Geo { regions, default_region } => check_regions(regions, default_region.as_deref(), count)?,
        }
        let is_even = matches!(&self, Self::Ring { weights } if weights.is_empty());
        Ok((count, if is_even { Self::Ring { weights: vec![1; usize::from(count)] } } else { self }))
    }

    /// Whether a database that was made with this one is what is asked for. What is not said is not asked.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] names what differs.
    pub(crate) fn check_asked(&self, asked: &Self) -> Result<(), Error> {
        let differs = |field: &str, kept: String| {
            let detail = format!("the database was made with {kept}, and that can't be changed; ask for it, or for nothing");
            Err(invalid(field, detail))
        };
        match (self, asked) {
            (Self::Hash, Self::Hash) => Ok(()),
            (Self::Ring { weights }, Self::Ring { weights: asked }) => {
                if asked.is_empty() || asked == weights {
                    Ok(())
                } else {
                    differs("shards.weights", format!("{weights:?}"))
                }
            }
            (Self::Range { splits }, Self::Range { splits: asked }) => {
                if asked.is_empty() || asked == splits {
                    Ok(())
                } else {
                    differs("shards.splits", format!("{splits:?}"))
                }
            }
            (Self::Geo { regions, default_region }, Self::Geo { regions: asked, default_region: asked_default }) => {
                if !asked.is_empty() && asked != regions {
                    let kept: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
                    return differs("shards.regions", format!("other keys or shards of the regions {}", kept.join(", ")));
                }
                if (!asked.is_empty() || asked_default.is_some()) && asked_default != default_region {
                    return differs("shards.default_region", default_region.as_deref().unwrap_or("none").to_owned());
                }
                Ok(())
            }
            _ => differs("shards.strategy", self.as_str().to_owned()),
        }
    }
}

/// Whether a range can begin with this key.
///
/// # Errors
///
/// [`Error::Invalid`] with `field`.
pub(crate) fn check_split(field: &str, split: &str) -> Result<(), Error> {
    if split.is_empty() || split.len() > KEY_BYTES_MAX || split.chars().any(char::is_control) {
        return Err(invalid(field, format!("{split:?} must have 1 to {KEY_BYTES_MAX} bytes and no control characters")));
    }
    Ok(())
}

fn check_splits(splits: &[String]) -> Result<(), Error> {
    splits.iter().try_for_each(|split| check_split("shards.splits", split))?;
    match splits.iter().zip(splits.iter().skip(1)).find(|(one, next)| one >= next) {
        Some((one, next)) => Err(invalid("shards.splits", format!("{one:?} must stand before {next:?}: they ascend, byte by byte"))),
        None => Ok(()),
    }
}

fn check_regions(regions: &[Region], default: Option<&str>, count: u16) -> Result<(), Error> {
    if regions.is_empty() {
        let detail = "geo needs regions: each with a name, its shards, and patterns of the keys that belong to it";
        return Err(invalid("shards.regions", detail.to_owned()));
    }
    let mut owners: Vec<Option<&str>> = vec![None; usize::from(count)];
    for (index, region) in regions.iter().enumerate() {
        let field = |part: &str| format!("shards.regions[{index}].{part}");
        if region.name.is_empty() || region.name.len() > KEY_BYTES_MAX || region.name.chars().any(char::is_control) {
            return Err(invalid(&field("name"), format!("must have 1 to {KEY_BYTES_MAX} bytes and no control characters")));
        }
        if regions.iter().take(index).any(|other| other.name == region.name) {
            return Err(invalid(&field("name"), format!("{:?} stands twice", region.name)));
        }
        if region.shards.is_empty() {
            return Err(invalid(&field("shards"), "must name at least one".to_owned()));
        }
        for shard in &region.shards {
            match owners.get_mut(usize::from(*shard)) {
                Some(owner @ None) => *owner = Some(&region.name),
                Some(Some(other)) => return Err(invalid(&field("shards"), format!("shard {shard} is one of {other:?} already"))),
                None => return Err(invalid(&field("shards"), format!("there is no shard {shard}: they count from 0 to {}", count - 1))),
            }
        }
        if region.keys.is_empty() && default != Some(region.name.as_str()) {
            return Err(invalid(&field("keys"), "must have a pattern: nothing could ever be in the region".to_owned()));
        }
        if region.keys.iter().any(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return Err(invalid(&field("keys"), format!("patterns have 1 to {KEY_BYTES_MAX} bytes")));
        }
    }
    if let Some(shard) = owners.iter().position(Option::is_none) {
        return Err(invalid("shards.regions", format!("shard {shard} is in no region")));
    }
    match default.filter(|name| regions.iter().all(|region| region.name != *name)) {
        Some(name) => Err(invalid("shards.default_region", format!("there is no region {name:?}"))),
        None => Ok(()),
    }
}

fn invalid(field: &str, detail: String) -> Error {
    Error::Invalid { field: field.to_owned(), detail }
}

/// More than a machine has use for; slots are shared out among them.
pub(crate) const SHARDS_MAX: u16 = 256;
/// The most that one shard can count for.
pub(crate) const WEIGHT_MAX: u32 = 100;
/// As long as a stream's name may be.
const KEY_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, shards: &[u16], keys: &[&str]) -> Region {
        Region { name: name.to_owned(), shards: shards.to_vec(), keys: keys.iter().map(|key| (*key).to_owned()).collect() }
    }

    fn range(splits: &[&str]) -> Strategy {
        Strategy::Range { splits: splits.iter().map(|split| (*split).to_owned()).collect() }
    }

    fn geo(regions: Vec<Region>, default: Option<&str>) -> Strategy {
        Strategy::Geo { regions, default_region: default.map(str::to_owned) }
    }

    fn check_refused(strategy: Strategy, shards: Option<u16>, expected: &str) {
        let Error::Invalid { field, detail } = strategy.settled(shards).expect_err(expected) else { panic!("{expected}") };
        assert!(format!("{field}: {detail}").contains(expected), "{field}: {detail} lacks {expected}");
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        check_refused(Strategy::Hash, Some(0), "shards: must be at least 1");
        check_refused(Strategy::Hash, Some(257), "at most 256");
        check_refused(Strategy::Ring { weights: vec![1, 2] }, Some(3), "shards: is 3");
        check_refused(Strategy::Ring { weights: vec![1, 0] }, None, "shards.weights: 0");
        check_refused(range(&["b", "a"]), None, "shards.splits: \"b\"");
        check_refused(range(&["a", "a"]), None, "must stand before");
        check_refused(range(&[""]), None, "shards.splits");
        check_refused(range(&["m"]), Some(4), "makes 2");
        check_refused(geo(vec![], None), None, "shards.regions: geo needs regions");
        check_refused(geo(vec![region("eu", &[0], &[])], None), None, "shards.regions[0].keys");
        check_refused(geo(vec![region("eu", &[0], &["eu-*"]), region("eu", &[1], &["x"])], None), None, "stands twice");
        check_refused(geo(vec![region("eu", &[0], &["eu-*"]), region("us", &[0], &["us-*"])], None), None, "is one of \"eu\"");
        check_refused(geo(vec![region("eu", &[0, 2], &["eu-*"])], None), None, "shard 1 is in no region");
        check_refused(geo(vec![region("eu", &[], &["eu-*"])], None), None, "shards.regions[0].shards");
        check_refused(geo(vec![region("eu", &[0], &["eu-*"])], Some("us")), None, "shards.default_region");
    }

    #[test]
    fn the_number_of_shards_follows_from_what_is_given() {
        assert_eq!(Strategy::Hash.settled(None).unwrap(), (1, Strategy::Hash));
        let ring = Strategy::Ring { weights: Vec::new() };
        assert_eq!(ring.settled(Some(3)).unwrap(), (3, Strategy::Ring { weights: vec![1, 1, 1] }));
        assert_eq!(range(&["g", "n"]).settled(None).unwrap().0, 3);
        assert_eq!(geo(vec![region("eu", &[0, 1], &[]), region("us", &[2], &["us-*"])], Some("eu")).settled(None).unwrap().0, 3);
    }

    #[test]
    fn another_choice_at_a_later_start_is_refused_and_silence_is_not_one() {
        let check = |kept: &Strategy, asked: &Strategy, expected: Option<&str>| match (kept.check_asked(asked), expected) {
            (Ok(()), None) => {}
            (Err(Error::Invalid { field, .. }), Some(expected)) => assert_eq!(field, expected),
            (found, expected) => panic!("{kept:?} {asked:?}: {found:?}, {expected:?}"),
        };
        let ring = |weights: &[u32]| Strategy::Ring { weights: weights.to_vec() };
        check(&ring(&[1, 2]), &ring(&[]), None);
        check(&ring(&[1, 2]), &ring(&[1, 2]), None);
        check(&ring(&[1, 2]), &ring(&[2, 1]), Some("shards.weights"));
        check(&ring(&[1, 2]), &Strategy::Hash, Some("shards.strategy"));
        check(&Strategy::Hash, &range(&[]), Some("shards.strategy"));
        check(&range(&["m"]), &range(&["n"]), Some("shards.splits"));
        let regions = vec![region("eu", &[0], &["eu-*"])];
        check(&geo(regions.clone(), Some("eu")), &geo(vec![], None), None);
        check(&geo(regions.clone(), Some("eu")), &geo(regions.clone(), None), Some("shards.default_region"));
        check(&geo(regions, None), &geo(vec![region("eu", &[0], &["de-*"])], None), Some("shards.regions"));
    }
}
