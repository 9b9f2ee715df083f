//! What a post shows, as far as it can have alternative text (lexicons `app.bsky.embed.*`).

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A record of the collection. People write what they like into their repos: what is no post shows nothing.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Record {
    Post { embed: Option<Embed> },
    Other(IgnoredAny),
}

/// Images and videos.
#[derive(Debug, Default, PartialEq)]
pub struct Media {
    pub all: usize,
    pub without_alt: usize,
}

#[derive(Deserialize)]
#[serde(tag = "$type")]
pub enum Embed {
    #[serde(rename = "app.bsky.embed.images")]
    Images { images: Vec<Shown> },
    #[serde(rename = "app.bsky.embed.video")]
    Video(Shown),
    /// A quoted record, with images or a video beside it. What the quoted one shows is its author's.
    #[serde(rename = "app.bsky.embed.recordWithMedia")]
    Beside { media: Box<Embed> },
    /// A quoted record alone, or a link with a picture of its page.
    #[serde(other)]
    Nothing,
}

#[derive(Deserialize)]
pub struct Shown {
    alt: Option<String>,
}

impl Record {
    pub fn media(&self) -> Media {
        match self {
            Record::Post { embed: Some(embed) } => embed.media(),
            _ => Media::default(),
        }
    }
}

impl Embed {
    fn media(&self) -> Media {
        match self {
            Embed::Images { images } => Media::of(images),
            Embed::Video(video) => Media::of(std::slice::from_ref(video)),
            Embed::Beside { media } => media.media(),
            Embed::Nothing => Media::default(),
        }
    }
}

impl Media {
    fn of(shown: &[Shown]) -> Media {
        // Clients write an empty text where people wrote none.
        let has_alt = |shown: &&Shown| shown.alt.as_deref().is_some_and(|alt| !alt.trim().is_empty());
        Media { all: shown.len(), without_alt: shown.len() - shown.iter().filter(has_alt).count() }
    }
}
