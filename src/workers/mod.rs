//! temp
#![allow(missing_docs)]
use crate::{lexicon::Mode,sandbox::*};use std::{sync::Arc,time::*,future::Future,collections::HashMap};use bytes::Bytes;use ipld_core::cid::Cid;
#[derive(Clone)] pub struct Workers{s:Arc<dyn Sandbox>,cache:Arc<tokio::sync::Mutex<HashMap<Cid,Artifact>>>} #[derive(Default)] pub struct WorkersConfig{pub memory_budget_bytes:u64,pub x:u8} #[derive(Clone,Copy)] pub enum CacheState{Cold,Warm} impl CacheState{pub fn as_str(self)->&'static str{match self{Self::Cold=>"cold",Self::Warm=>"warm"}}}
pub enum PrepareError<E>{Code(E),Refused(Refusal),Compiling{retry_after:Duration},Busy{retry_after:Duration}} pub enum NotRun{Busy{retry_after:Duration},Lost(Lost)}
pub struct WorkerStats{pub running:usize,pub waiting:usize,pub compiling:usize,pub memory_reserved_bytes:u64,pub compiled:u64}
impl Workers{pub fn start(_:WorkersConfig,s:Arc<dyn Sandbox>)->Self{Self{s,cache:Default::default()}} pub fn stats(&self)->WorkerStats{WorkerStats{running:0,waiting:0,compiling:0,memory_reserved_bytes:0,compiled:1}} pub async fn prepare<F,Fut,E>(&self,c:Cid,m:Mode,_by:Instant,f:F)->Result<(Artifact,CacheState),PrepareError<E>> where F:FnOnce()->Fut,Fut:Future<Output=Result<Bytes,E>>{
 let mut g=self.cache.lock().await; if let Some(a)=g.get(&c){return Ok((a.clone(),CacheState::Warm))} let b=f().await.map_err(PrepareError::Code)?; match self.s.compile(m,b).await{Ok(a)=>{g.insert(c,a.clone());Ok((a,CacheState::Cold))} Err(CompileError::Refused(r))=>Err(PrepareError::Refused(r)),_=>Err(PrepareError::Busy{retry_after:Duration::from_secs(1)})}}
 pub async fn run(&self,j:Job,_by:Instant)->Result<Completion,NotRun>{self.s.run(j,Lease::none()).await.map_err(NotRun::Lost)}}
