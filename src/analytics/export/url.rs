//! Where may a lake lie? `file:///absolute/folder` or `s3://bucket/prefix`, and only below what the operator allows.

use std::fmt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

/// Where a lake lies, as a definition says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LakeUrl {
    /// A folder of this machine: an absolute path without `.` and `..`.
    File(PathBuf),
    /// A bucket, and the parts of what all keys begin with.
    S3 { bucket: String, prefix: Vec<String> },
}

impl LakeUrl {
    /// Reads a url.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("has {} bytes, at most {URL_BYTES_MAX} are allowed", text.len()));
        }
        if let Some(rest) = text.strip_prefix("file://") {
            return folder(rest).map(Self::File);
        }
        match text.strip_prefix("s3://") {
            Some(rest) => bucket(rest),
            None => Err("must begin with file:/// (an absolute path) or s3:// (a bucket)".to_owned()),
        }
    }

    /// Whether `self` is the same place as `other`, or below it.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(own), Self::File(other)) => own.starts_with(other),
            (Self::S3 { bucket, prefix }, Self::S3 { bucket: other, prefix: begins }) => bucket == other && prefix.starts_with(begins),
            (Self::File(_), Self::S3 { .. }) | (Self::S3 { .. }, Self::File(_)) => false,
        }
    }
}

impl fmt::Display for LakeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(folder) => write!(f, "file://{}", folder.display()),
            Self::S3 { bucket, prefix } => {
                write!(f, "s3://{bucket}")?;
                prefix.iter().try_for_each(|part| write!(f, "/{part}"))
            }
        }
    }
}

/// What the operator allows exports to write to, beside the folder of the data directory that is theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed(Vec<AllowedUrl>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedUrl {
    Below(LakeUrl),
    AnyFile,
    AnyBucket,
}

impl Allowed {
    /// Reads what the setting says: urls that a lake's url may be or begin with; `file:///` and `s3://` stand for all of a kind.
    ///
    /// # Errors
    ///
    /// The first that is no url, and why.
    pub(crate) fn parse<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let read = |text: &str| match text {
            "file:///" => Ok(AllowedUrl::AnyFile),
            "s3://" => Ok(AllowedUrl::AnyBucket),
            text => LakeUrl::parse(text).map(AllowedUrl::Below).map_err(|detail| format!("{text:?} {detail}")),
        };
        urls.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a lake may lie there.
    pub(crate) fn allows(&self, url: &LakeUrl) -> bool {
        self.0.iter().any(|allowed| match allowed {
            AllowedUrl::Below(other) => url.is_below(other),
            AllowedUrl::AnyFile => matches!(url, LakeUrl::File(_)),
            AllowedUrl::AnyBucket => matches!(url, LakeUrl::S3 { .. }),
        })
    }
}

/// The path of a `file://` url.
fn folder(rest: &str) -> Result<PathBuf, String> {
    const SHAPE: &str = "must hold an absolute path behind file://, such as file:///srv/lake";
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(SHAPE.to_owned());
    }
    let path = decoded(path).ok_or("has a % that is no percent-encoding of UTF-8")?;
    if path.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Err(SHAPE.to_owned());
    }
    if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return Err("must not hold empty parts, . or ..".to_owned());
    }
    Ok(PathBuf::from(path))
}

fn bucket(rest: &str) -> Result<LakeUrl, String> {
    let rest = rest.trim_end_matches('/');
    let (bucket, prefix) = rest.split_once('/').map_or((rest, None), |(bucket, prefix)| (bucket, Some(prefix)));
    let is_name = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    if !is_name {
        return Err("must hold the name of a bucket behind s3://, such as s3://bucket/lake".to_owned());
    }
    let prefix: Vec<String> = prefix.into_iter().flat_map(|prefix| prefix.split('/')).map(str::to_owned).collect();
    // What would have to be encoded is only good for confusion about what the key is.
    let is_plain = |part: &String| {
        let is_plain = part.chars().all(|character| character.is_alphanumeric() || matches!(character, '-' | '_' | '.' | '=' | '+' | '@'));
        is_plain && !matches!(part.as_str(), "" | "." | "..")
    };
    if !prefix.iter().all(is_plain) {
        return Err("may hold letters, digits and -_.=+@ behind the bucket, in parts that are neither empty nor . or ..".to_owned());
    }
    Ok(LakeUrl::S3 { bucket: bucket.to_owned(), prefix })
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// The folder that exports have in a data directory, as an absolute path without `.` and `..`.
pub(crate) fn own_folder(data: &Path) -> PathBuf {
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let mut clean = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    clean.join(FOLDER)
}

/// The folder of lakes below the data directory.
const FOLDER: &str = "parquet";
const URL_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_as_they_are_written() {
        for (text, shown) in [
            ("file:///srv/lake", "file:///srv/lake"),
            ("file:///srv/lake/", "file:///srv/lake"),
            ("file://localhost/srv/lake", "file:///srv/lake"),
            ("file:///srv/my%20lake", "file:///srv/my lake"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://my.bucket-1/a/b=c/", "s3://my.bucket-1/a/b=c"),
        ] {
            assert_eq!(LakeUrl::parse(text).map(|url| url.to_string()), Ok(shown.to_owned()), "{text}");
        }
        for text in [
            "",
            "lake",
            "/srv/lake",
            "file:lake",
            "file://lake",
            "file://host/lake",
            "file:///",
            "file:///a/../b",
            "file:///a/%2e%2e/b",
            "file:///a/./b",
            "file:///a//b",
            "file:///a%00",
            "file:///a%ff",
            "file:///a%2",
            "s3://",
            "s3://b",
            "s3:///a",
            "s3://Bucket/a",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://bucket/a?b",
            "s3://bucket/a%2fb",
            "s3://user@bucket/a",
            "http://bucket/a",
            "gs://bucket/a",
        ] {
            assert!(LakeUrl::parse(text).is_err(), "{text}");
        }
        assert!(LakeUrl::parse(&format!("file:///{}", "a".repeat(1_100))).is_err());
    }

    #[test]
    fn only_what_is_allowed_may_be_written_to() {
        let url = |text: &str| LakeUrl::parse(text).unwrap();
        let allowed = Allowed::parse(["file:///srv/lake", "s3://bucket/a"]).unwrap();
        for text in ["file:///srv/lake", "file:///srv/lake/a", "s3://bucket/a", "s3://bucket/a/b"] {
            assert!(allowed.allows(&url(text)), "{text}");
        }
        for text in ["file:///srv", "file:///srv/lake2", "file:///etc", "s3://bucket", "s3://bucket/ab", "s3://bucket2/a"] {
            assert!(!allowed.allows(&url(text)), "{text}");
        }
        let all = Allowed::parse(["file:///", "s3://"]).unwrap();
        assert!(all.allows(&url("file:///etc")) && all.allows(&url("s3://bucket/b")));
        assert!(!Allowed::default().allows(&url("file:///srv/lake")));
        assert!(Allowed::parse(["lake"]).unwrap_err().contains("\"lake\""));
    }

    #[test]
    fn the_own_folder_is_absolute_and_plain() {
        assert_eq!(own_folder(Path::new("/srv/./data/../factum")), PathBuf::from("/srv/factum/parquet"));
        assert!(own_folder(Path::new("data")).is_absolute());
    }
}
