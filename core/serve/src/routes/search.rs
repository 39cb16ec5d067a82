//! `POST /search`: the items with the highest scores for a query, exactly.
//!
//! The body is JSON, `{"model": RUN, "query": {MODALITY: ITEM, ...}, "in": MODALITY, "top": 10}`; or a form
//! (`multipart/form-data`) with the fields `model`, `in`, `top` and one for each item, which holds its bytes.
//! Instead of items, a query can be `{"vector": [...]}`. The score of a query of several modalities is the
//! mean of the scores of its items.

use super::openai::content;
use crate::{api_error::ApiError, body, items::Items, job::Work, model::Model, state::ServerState};
use axum::{
    RequestExt,
    body::Bytes,
    extract::{FromRequest, Multipart, Request, State},
    http::{HeaderMap, header},
    response::Response,
};
use chiasm_pipeline::{Gallery, GalleryHit, RawItem};
use ndarray::Array1;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The most results.
const MOST: usize = 1000;
const DEFAULT: usize = 10;

/// The body of `POST /search`.
#[derive(Deserialize)]
struct SearchRequest {
    model: Option<String>,
    query: Map<String, Value>,
    r#in: Option<String>,
    top: Option<usize>,
}

/// A query whose items were read.
struct Query {
    model: Arc<Model>,
    items: Vec<(String, Items)>,
    vector: Option<Vec<f32>>,
    among: Option<String>,
    top: usize,
}

/// `POST /search`.
pub async fn search(State(state): State<Arc<ServerState>>, request: Request) -> Result<Response, ApiError> {
    body::expect_type(request.headers(), &["application/json", "multipart/form-data"])?;
    let is_form = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str().is_ok_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/"))
    });
    let query = if is_form { of_form(&state, request).await? } else { of_json(&state, request).await? };
    let among = query.among()?.to_owned();
    let (model, top) = (Arc::clone(&query.model), query.top);
    model.gallery(&among)?;
    let vector = query.vector(&state).await?;
    let searched = Arc::clone(&model);
    let found = tokio::task::spawn_blocking(move || {
        let gallery = searched.gallery(&among)?;
        let hits = gallery.search(vector.view(), top)?;
        Ok::<_, ApiError>(hits.iter().map(|hit| shown(&searched, gallery, *hit)).collect::<Vec<_>>())
    });
    let hits = found.await.map_err(|_| ApiError::internal("the search failed"))??;
    Ok(content(&Found { model: model.name.clone(), hits }))
}

/// An item found, as it is answered.
#[derive(Serialize)]
struct ShownHit {
    id: String,
    modality: String,
    /// Its place among the items that are searched.
    index: usize,
    score: f32,
    /// The item itself if it is a text, and the route of its content; null for a file of vectors.
    text: Option<String>,
    url: Option<String>,
}

/// The answer to a search.
#[derive(Serialize)]
struct Found {
    model: String,
    hits: Vec<ShownHit>,
}

fn shown(model: &Model, gallery: &Gallery, hit: GalleryHit) -> ShownHit {
    let raw = gallery.raw.get(hit.item);
    let text = raw.and_then(|raw| match raw {
        RawItem::Text(text) => Some(text.clone()),
        RawItem::Path(_) | RawItem::Row(_) => None,
    });
    let url = raw.map(|_| format!("/items/{}/{}/{}", model.name, gallery.modality, hit.item));
    let (id, modality) = (gallery.ids[hit.item].clone(), gallery.modality.clone());
    ShownHit { id, modality, index: hit.item, score: hit.score, text, url }
}

async fn of_json(state: &ServerState, request: Request) -> Result<Query, ApiError> {
    let headers: HeaderMap = request.headers().clone();
    let bytes = Bytes::from_request(request, &()).await;
    let bytes = bytes.map_err(|error| ApiError::bad(error.to_string()))?;
    let mut request: SearchRequest = body::json(&headers, &bytes)?;
    let model = model_of(state, request.model.as_deref())?;
    // A run may have a modality of this name.
    let vector = match model.modality("vector") {
        Ok(_) => None,
        Err(_) => request.query.remove("vector"),
    };
    let vector = vector.map(|vector| {
        serde_json::from_value(vector).map_err(|_| ApiError::bad("`vector`: expected a list of numbers"))
    });
    let mut items = Vec::new();
    for (name, item) in &request.query {
        let modality = model.modality(name)?;
        let mut one = Items::default();
        state.items.add_json(&mut one, modality.takes, item)?;
        items.push((name.clone(), one));
    }
    Query {
        model,
        items,
        vector: vector.transpose()?,
        among: request.r#in,
        top: request.top.unwrap_or(DEFAULT),
    }
    .checked()
}

async fn of_form(state: &ServerState, request: Request) -> Result<Query, ApiError> {
    let failed = |error: &dyn std::fmt::Display| ApiError::bad(format!("the form is not valid: {error}"));
    let mut form: Multipart = request.extract().await.map_err(|error| failed(&error))?;
    let (mut named, mut fields) = (None, Vec::new());
    let (mut among, mut top) = (None, DEFAULT);
    while let Some(field) = form.next_field().await.map_err(|error| failed(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(|error| failed(&error))?;
        let text = || String::from_utf8_lossy(&bytes).trim().to_owned();
        match name.as_str() {
            "model" => named = Some(text()),
            "in" => among = Some(text()),
            "top" => top = text().parse().map_err(|_| ApiError::bad("`top`: expected a number"))?,
            _ => fields.push((name, bytes)),
        }
    }
    let model = model_of(state, named.as_deref())?;
    let mut items = Vec::new();
    for (name, bytes) in fields {
        let modality = model.modality(&name)?;
        let mut one = Items::default();
        state.items.add(&mut one, modality.takes, &bytes)?;
        items.push((name, one));
    }
    Query { model, items, vector: None, among, top }.checked()
}

/// Returns the model of this name, or the only one.
fn model_of(state: &ServerState, name: Option<&str>) -> Result<Arc<Model>, ApiError> {
    match (name, state.registry.models().as_slice()) {
        (Some(name), _) => state.registry.model(name),
        (None, [only]) => Ok(Arc::clone(only)),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|model| model.name.as_str()).collect();
            Err(ApiError::bad(format!("name the `model`: {}", names.join(" or "))))
        }
    }
}

impl Query {
    fn checked(self) -> Result<Self, ApiError> {
        if !(1..=MOST).contains(&self.top) {
            return Err(ApiError::bad(format!("`top`: expected 1 to {MOST}, got {}", self.top)));
        }
        if self.vector.is_some() != self.items.is_empty() {
            return Err(ApiError::bad("expected one item of one or more modalities, or one vector"));
        }
        let names: std::collections::BTreeSet<&String> = self.items.iter().map(|(name, _)| name).collect();
        match names.len() == self.items.len() {
            true => Ok(self),
            false => Err(ApiError::bad("expected one item of each modality")),
        }
    }

    /// Returns the modality that is searched: the one that is named, or the only one without a query.
    fn among(&self) -> Result<&str, ApiError> {
        if let Some(among) = &self.among {
            return Ok(among);
        }
        let galleries = self.model.galleries.as_ref().map_err(ApiError::missing)?;
        let asked = |name: &str| self.items.iter().any(|(own, _)| own == name);
        let others: Vec<&str> =
            galleries.iter().map(|own| own.modality.as_str()).filter(|name| !asked(name)).collect();
        match others.as_slice() {
            [only] => Ok(only),
            _ => {
                let names: Vec<&str> = galleries.iter().map(|own| own.modality.as_str()).collect();
                Err(ApiError::bad(format!("name what is searched, `in`: {}", names.join(" or "))))
            }
        }
    }

    /// Returns the vector of the query: the mean of those of its items.
    async fn vector(self, state: &ServerState) -> Result<Array1<f32>, ApiError> {
        if let Some(vector) = self.vector {
            return Ok(Array1::from(vector));
        }
        let count = self.items.len() as f32;
        let mut sum: Option<Array1<f32>> = None;
        for (name, items) in self.items {
            let output = self.model.modality(&name)?.output.clone();
            let work = Work::Items { modalities: vec![name], columns: vec![items.raw], files: items.files };
            let outputs = state.registry.run(&self.model.name, work).await?;
            let tensor = outputs.into_iter().find(|(own, _)| *own == output).map(|(_, tensor)| tensor);
            let values = tensor.and_then(|tensor| tensor.into_f32().ok());
            let own = Array1::from(values.ok_or_else(|| ApiError::internal("the output is missing"))?);
            sum = Some(match sum {
                Some(sum) if sum.len() == own.len() => sum + own,
                Some(_) => return Err(ApiError::internal("the outputs differ in width")),
                None => own,
            });
        }
        sum.map(|sum| sum / count).ok_or_else(|| ApiError::bad("the query is empty"))
    }
}
