//! `groupcache.loader.v1` over the table: one query for a Load, and one for a whole LoadMany.
//!
//! A key that is malformed, or not even text, is answered "not found" like an unassigned one, not with an error:
//! it is the truth (no such row), and a cache may keep it, whereas an error would be asked again with every Get.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use groupcache_proto::loader::loader_service_server::LoaderService;
use groupcache_proto::loader::{
    LoadManyRequest, LoadManyResponse, LoadRequest, LoadResponse, LoadResult, NotFound, load_response,
    load_result,
};
use tonic::{Request, Response, Status};

use crate::unicode::counts::Counts;
use crate::unicode::faults::FaultSwitch;
use crate::unicode::key;
use crate::unicode::table::{Record, Table};

/// Most keys in one LoadMany: what a node's GetMany takes.
pub const MAX_KEYS: usize = 1_024;

/// The loader.
#[derive(Clone, Debug)]
pub struct UnicodeLoader {
    /// Where the names are.
    pub table: Table,
    /// Who asked how often.
    pub counts: Arc<Counts>,
    /// What is wrong with it at the moment.
    pub faults: Arc<FaultSwitch>,
}

#[tonic::async_trait]
impl LoaderService for UnicodeLoader {
    async fn load(&self, request: Request<LoadRequest>) -> Result<Response<LoadResponse>, Status> {
        let request = request.into_inner();
        let mut answers = self.answer(&[request.key]).await?;
        answers.pop().map(Response::new).ok_or_else(|| Status::internal("one key was asked, none answered"))
    }

    async fn load_many(
        &self,
        request: Request<LoadManyRequest>,
    ) -> Result<Response<LoadManyResponse>, Status> {
        let keys = request.into_inner().keys;
        if keys.len() > MAX_KEYS {
            return Err(Status::invalid_argument(format!(
                "{} keys in one LoadMany; at most {MAX_KEYS}",
                keys.len()
            )));
        }
        let results = self.answer(&keys).await?.into_iter();
        let results =
            results.map(|response| LoadResult { result: Some(load_result::Result::Response(response)) });
        Ok(Response::new(LoadManyResponse { results: results.collect() }))
    }
}

impl UnicodeLoader {
    /// Answers every key, in the order asked, with one query.
    async fn answer(&self, keys: &[Bytes]) -> Result<Vec<LoadResponse>, Status> {
        let texts: Vec<&str> = keys.iter().map(|key| text(key)).collect();
        for text in &texts {
            self.counts.asked(text);
        }
        let rows = self.rows(&texts).await.inspect_err(|_| self.counts.failed(keys.len()))?;
        let answers: Vec<_> = texts.iter().map(|text| response(rows.get(*text))).collect();
        self.counts.answered(keys.len(), answers.iter().filter(|answer| answer.version.is_some()).count());
        Ok(answers)
    }

    async fn rows(&self, keys: &[&str]) -> Result<HashMap<String, Record>, Status> {
        self.faults.suffer().await?;
        let rows = match keys {
            [key] => self.table.get(key).await.map(|row| row.into_iter().collect()),
            keys => self.table.get_many(keys).await,
        };
        let rows: Vec<Record> =
            rows.map_err(|error| Status::internal(format!("the names table: {error}")))?;
        Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
    }
}

/// The key as the table holds it; all keys that it cannot hold are the empty one, which bounds what is counted and queried.
fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).ok().filter(|text| key::is_well_formed(text)).unwrap_or("")
}

fn response(row: Option<&Record>) -> LoadResponse {
    match row {
        Some(row) => LoadResponse {
            outcome: Some(load_response::Outcome::Value(row.name.clone().into())),
            ttl_ms: None,
            version: Some(row.version),
        },
        None => LoadResponse {
            outcome: Some(load_response::Outcome::NotFound(NotFound {})),
            ttl_ms: None,
            version: None,
        },
    }
}
