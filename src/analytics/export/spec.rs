//! What may an export's definition say, and what does it mean?

use std::time::Duration;

use factum_storage::Filter;
use serde_json::Value;

use super::url::LakeUrl;
use crate::definition::Format;
use crate::definition::document;
use crate::definition::document::at;
use crate::definition::document::number;
use crate::definition::document::unknown;
use crate::error::DefinitionFault;

/// What an export's definition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Its name.
    pub(crate) name: String,
    /// Where the lake lies; `None`: in the data directory.
    pub(crate) url: Option<LakeUrl>,
    /// How files are laid out in folders.
    pub(crate) layout: Layout,
    /// Which events.
    pub(crate) filter: Filter,
    /// How large files are to become.
    pub(crate) target_file_bytes: u64,
    /// How long an event may wait before it is in a file.
    pub(crate) flush_every: Duration,
    /// Where the settings for S3 come from.
    pub(crate) s3: S3Names,
}

/// How files are laid out in folders: `category=<category>/date=<day of recorded_at>/`, both, one or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// A folder for each category.
    pub(crate) by_category: bool,
    /// A folder for each day.
    pub(crate) by_date: bool,
}

/// The environment variables that hold what S3 needs; `None` is what AWS's own tools look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct S3Names {
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<String>,
    pub(crate) session_token: Option<String>,
}

impl Layout {
    /// As it is written.
    pub(crate) fn names(self) -> Vec<&'static str> {
        [("category", self.by_category), ("date", self.by_date)].into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
    }
}

impl Spec {
    /// Reads a definition. Whether its lake may be written to is not looked at here.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    pub(crate) fn parse(name: &str, format: Format, text: &str) -> Result<Self, DefinitionFault> {
        let members = document::members(format, text, "an export")?;
        let mut spec = Self {
            name: name.to_owned(),
            url: None,
            layout: Layout { by_category: true, by_date: true },
            filter: Filter::default(),
            target_file_bytes: TARGET_FILE_BYTES,
            flush_every: FLUSH_EVERY,
            s3: S3Names::default(),
        };
        for (name, value) in &members {
            let pointer = format!("/{name}");
            match name.as_str() {
                "url" => spec.url = Some(url(value)?),
                "partition_by" => spec.layout = layout(value)?,
                "filter" => spec.filter = document::filter(value)?,
                "target_file_bytes" => spec.target_file_bytes = number(value, &pointer, TARGET_FILE_BYTES_MIN, TARGET_FILE_BYTES_MAX)?,
                "flush_seconds" => spec.flush_every = Duration::from_secs(number(value, &pointer, 1, FLUSH_SECONDS_MAX)?),
                "s3" => spec.s3 = s3(value)?,
                _ => return Err(unknown(&pointer, FIELDS)),
            }
        }
        if spec.s3 != S3Names::default() && !matches!(spec.url, Some(LakeUrl::S3 { .. })) {
            return Err(at("/s3", "is for a url that begins with s3://"));
        }
        Ok(spec)
    }
}

fn url(value: &Value) -> Result<LakeUrl, DefinitionFault> {
    let text = value.as_str().ok_or_else(|| at("/url", "must be a string"))?;
    LakeUrl::parse(text).map_err(|detail| at("/url", &detail))
}

fn layout(value: &Value) -> Result<Layout, DefinitionFault> {
    let fault = |pointer: &str| at(pointer, "must hold \"category\", \"date\", both in this order, or nothing");
    let Value::Array(items) = value else { return Err(fault("/partition_by")) };
    let mut layout = Layout { by_category: false, by_date: false };
    for (index, item) in items.iter().enumerate() {
        match item.as_str() {
            Some("category") if !layout.by_category && !layout.by_date => layout.by_category = true,
            Some("date") if !layout.by_date => layout.by_date = true,
            _ => return Err(fault(&format!("/partition_by/{index}"))),
        }
    }
    Ok(layout)
}

fn s3(value: &Value) -> Result<S3Names, DefinitionFault> {
    let Value::Object(members) = value else { return Err(at("/s3", "must be an object")) };
    let mut names = S3Names::default();
    for (name, value) in members {
        let pointer = format!("/s3/{name}");
        let slot = match name.as_str() {
            "endpoint_env" => &mut names.endpoint,
            "region_env" => &mut names.region,
            "access_key_id_env" => &mut names.access_key_id,
            "secret_access_key_env" => &mut names.secret_access_key,
            "session_token_env" => &mut names.session_token,
            _ => return Err(unknown(&pointer, S3_FIELDS)),
        };
        let is_name = |text: &&str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_plain && (1..=VARIABLE_BYTES_MAX).contains(&text.len()) && !text.as_bytes().first().is_some_and(u8::is_ascii_digit)
        };
        let variable = value.as_str().filter(is_name);
        *slot = Some(variable.ok_or_else(|| at(&pointer, "must be the name of an environment variable of the server"))?.to_owned());
    }
    Ok(names)
}

const FIELDS: &str = "url, partition_by, filter, target_file_bytes, flush_seconds and s3";
const S3_FIELDS: &str = "endpoint_env, region_env, access_key_id_env, secret_access_key_env and session_token_env";
const TARGET_FILE_BYTES: u64 = 128 << 20;
/// Smaller files cost more for what stands around the rows than for the rows.
const TARGET_FILE_BYTES_MIN: u64 = 64 << 10;
/// A file is put together in memory.
const TARGET_FILE_BYTES_MAX: u64 = 1 << 30;
const FLUSH_EVERY: Duration = Duration::from_mins(1);
const FLUSH_SECONDS_MAX: u64 = 86_400;
const VARIABLE_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_read_from_both_formats() {
        let json = r#"{"url": "s3://bucket/lake", "partition_by": ["date"], "filter": {"categories": ["order"]},
            "target_file_bytes": 1048576, "flush_seconds": 5, "s3": {"endpoint_env": "LAKE_ENDPOINT", "region_env": "R",
            "access_key_id_env": "K", "secret_access_key_env": "S", "session_token_env": "T"}}"#;
        let toml = "url = \"s3://bucket/lake\"\npartition_by = [\"date\"]\ntarget_file_bytes = 1048576\nflush_seconds = 5\n\
            filter.categories = [\"order\"]\n[s3]\nendpoint_env = \"LAKE_ENDPOINT\"\nregion_env = \"R\"\naccess_key_id_env = \"K\"\n\
            secret_access_key_env = \"S\"\nsession_token_env = \"T\"\n";
        let spec = Spec::parse("lake", Format::Json, json).unwrap();
        assert_eq!(spec, Spec::parse("lake", Format::Toml, toml).unwrap());
        assert_eq!(
            (spec.filter.categories.as_slice(), spec.target_file_bytes, spec.flush_every),
            (&["order".to_owned()][..], 1 << 20, Duration::from_secs(5))
        );
        let plain = Spec::parse("lake", Format::Json, "{}").unwrap();
        assert_eq!(plain, Spec::parse("lake", Format::Toml, "").unwrap());
        assert_eq!((plain.url, plain.layout.names(), plain.target_file_bytes), (None, vec!["category", "date"], 128 << 20));
        let layout = |text: &str| Spec::parse("lake", Format::Json, text).unwrap().layout.names();
        assert_eq!(layout(r#"{"partition_by": []}"#), [""; 0]);
        assert_eq!(layout(r#"{"partition_by": ["category"]}"#), ["category"]);
    }

    #[test]
    fn faults_name_their_place() {
        for (text, pointer) in [
            ("[]", None),
            (r#"{"colour": 1}"#, Some("/colour")),
            (r#"{"url": 5}"#, Some("/url")),
            (r#"{"url": "parquet/lake"}"#, Some("/url")),
            (r#"{"partition_by": "date"}"#, Some("/partition_by")),
            (r#"{"partition_by": ["date", "category"]}"#, Some("/partition_by/1")),
            (r#"{"partition_by": ["date", "date"]}"#, Some("/partition_by/1")),
            (r#"{"partition_by": ["type"]}"#, Some("/partition_by/0")),
            (r#"{"filter": {"colour": 1}}"#, Some("/filter/colour")),
            (r#"{"target_file_bytes": 1}"#, Some("/target_file_bytes")),
            (r#"{"target_file_bytes": 1073741825}"#, Some("/target_file_bytes")),
            (r#"{"flush_seconds": 0}"#, Some("/flush_seconds")),
            (r#"{"flush_seconds": 1.5}"#, Some("/flush_seconds")),
            (r#"{"s3": {"region_env": "R"}}"#, Some("/s3")),
            (r#"{"url": "s3://bucket", "s3": {"region": "R"}}"#, Some("/s3/region")),
            (r#"{"url": "s3://bucket", "s3": {"access_key_id_env": "not a name"}}"#, Some("/s3/access_key_id_env")),
            (r#"{"url": "s3://bucket", "s3": {"access_key_id_env": ""}}"#, Some("/s3/access_key_id_env")),
        ] {
            let fault = Spec::parse("lake", Format::Json, text).unwrap_err();
            assert_eq!(fault.pointer.as_deref(), pointer, "{text}: {fault:?}");
        }
        let fault = Spec::parse("lake", Format::Javascript, "").unwrap_err();
        assert!(fault.detail.contains("JSON or TOML"), "{fault:?}");
    }
}
