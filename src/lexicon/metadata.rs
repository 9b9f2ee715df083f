//! temp
#![allow(missing_docs)]
use ipld_core::cid::Cid; use ipld_core::ipld::Ipld; use super::Mode;
#[derive(Clone,Debug)] pub struct CodeRef{pub cid:Cid,pub size:Option<u64>}
#[derive(Clone,Debug)] pub struct FunctionMetadata{pub mode:Mode,pub code:CodeRef,pub public:bool,pub max_memory_mb:u16,pub max_duration_ms:u16}
#[derive(Clone,Debug,thiserror::Error)] #[error("{0}")] pub struct InvalidMetadata(String);
impl FunctionMetadata{ pub fn weight(&self)->usize{0}
 pub fn from_record(v:&Ipld)->Result<Self,InvalidMetadata>{
  let Ipld::Map(m)=v else {return Err(InvalidMetadata("no map".into()))};
  let int=|k:&str,d:u16|match m.get(k){None=>Ok(d),Some(Ipld::Integer(i))=>u16::try_from(*i).map_err(|_|InvalidMetadata(k.into())),_=>Err(InvalidMetadata(k.into()))};
  let Some(Ipld::String(mode))=m.get("mode") else {return Err(InvalidMetadata("mode".into()))};
  let Some(Ipld::Map(code))=m.get("code") else {return Err(InvalidMetadata("code".into()))};
  let Some(Ipld::Link(cid))=code.get("ref") else {return Err(InvalidMetadata("code".into()))};
  Ok(Self{mode:Mode::parse(mode).ok_or(InvalidMetadata("mode".into()))?,code:CodeRef{cid:*cid,size:None},public:!matches!(m.get("public"),Some(Ipld::Bool(false))),max_memory_mb:int("maxMemoryMb",32)?,max_duration_ms:int("maxDurationMs",100)?})
 }}
