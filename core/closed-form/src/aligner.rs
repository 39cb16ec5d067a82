//! Macros that make an aligner plugin of a method, so that a plugin is a name, a sentence and its parameters.

/// Makes a `chiasm_plugin::Aligner` of a method; the plugin names it, says what it does and lists its
/// parameters as `key: kind, "what it is"`, each chosen from the data unless given.
#[macro_export]
macro_rules! aligner {
    (
        $name:ident($parameters:ty), $id:literal, $doc:literal,
        { $($key:literal: $kind:literal, $what:literal;)* }
    ) => {
        #[doc = $doc]
        #[derive(Debug)]
        pub struct $name;

        impl ::chiasm_plugin::Aligner for $name {
            const ID: &'static str = $id;
            const DOC: &'static str = $doc;

            fn parameters() -> Vec<::chiasm_plugin::Parameter> {
                vec![$(::chiasm_plugin::Parameter::new($key, $kind, ::chiasm_plugin::Json::Null, $what)),*]
            }

            fn takes() -> ::chiasm_plugin::ModalityCount {
                let most = <$parameters as $crate::Method>::MOST_MODALITIES;
                ::chiasm_plugin::ModalityCount { least: 2, most }
            }

            fn fit(
                spec: &::chiasm_plugin::AlignSpec,
                data: &::chiasm_plugin::Inputs<'_>,
                parameters: &::chiasm_plugin::Json,
                services: &::chiasm_plugin::Services<'_>,
            ) -> ::chiasm_plugin::Result<::chiasm_plugin::Learned> {
                use ::chiasm_plugin::{Error, Inverse, InverseKind, Learned};
                let refuse = |error: $crate::Error| match error {
                    $crate::Error::Cancelled => Error::cancelled(),
                    error @ ($crate::Error::Graph(_) | $crate::Error::Linfa(_)) => Error::from(error),
                    error => Error::invalid(error.to_string()),
                };
                let parameters: $parameters = ::chiasm_plugin::read_parameters(parameters)?;
                let progress = |done, total| services.progress(done, total).is_ok();
                let context = $crate::FitContext { seed: services.seed(), progress: &progress };
                let read = data.views(spec)?;
                let views = read.views.into_iter().map(|view| $crate::View {
                    name: view.name,
                    blocks: view.blocks,
                    items: view.pooled,
                    rows: view.rows,
                });
                let made = $crate::Views::new(views.collect(), read.anchor, read.validation)
                    .and_then(|views| {
                        $crate::Method::fit_views(parameters, &views, context)?.export(&views.names())
                    })
                    .map_err(refuse)?;
                let inverse = |inverse: $crate::Inverse| Inverse {
                    graph: inverse.graph,
                    kind: match inverse.kind {
                        $crate::InverseKind::TwoSided => InverseKind::TwoSided,
                        $crate::InverseKind::Left => InverseKind::Left,
                        $crate::InverseKind::Right => InverseKind::Right,
                    },
                };
                Ok(Learned {
                    maps: made.maps,
                    inverses: made.inverses.into_iter().map(|one| one.map(inverse)).collect(),
                    parameters: made.parameters,
                    notes: made.notes,
                })
            }
        }
    };
}

/// What every plugin made by [`aligner!`] promises, as tests: the ports of its maps with two modalities and
/// with three of which rows lack some, that what was chosen fits again to the same bytes, that its list of
/// parameters is what it accepts, and that bad items are told as the user's to mend.
#[macro_export]
macro_rules! aligner_tests {
    ($name:ident) => {
        #[cfg(test)]
        mod tests {
            use ::chiasm_plugin::ndarray::{Array1, Array2};
            use ::chiasm_plugin::{
                AlignModality, AlignSpec, Aligner, Code, Inputs, Json, Learned, Result, Services, json,
            };

            use super::$name;

            /// One modality: name, items and their rows.
            type Cloud = (&'static str, Array2<f32>, Array1<i64>);

            fn fit(clouds: &[Cloud], parameters: &Json) -> Result<Learned> {
                let modality = |(name, items, _): &Cloud| AlignModality {
                    name: (*name).to_owned(),
                    dim: items.ncols(),
                    blocks: vec![items.ncols()],
                };
                let spec =
                    AlignSpec { modalities: clouds.iter().map(modality).collect(), anchor: None };
                let names: Vec<[String; 2]> = clouds
                    .iter()
                    .map(|(name, ..)| [format!("{name}.pooled"), format!("{name}.row")])
                    .collect();
                let named = || names.iter().zip(clouds);
                let items: Vec<_> =
                    named().map(|(name, cloud)| (name[0].as_str(), cloud.1.view())).collect();
                let rows: Vec<_> =
                    named().map(|(name, cloud)| (name[1].as_str(), cloud.2.view().into_dyn())).collect();
                let data = Inputs::of(&items).and_integers(&rows);
                $name::fit(&spec, &data, parameters, &Services::detached(3, 1))
            }

            /// Items that a row's number makes, so that modalities have something in common.
            fn cloud(name: &'static str, columns: usize, rows: impl Iterator<Item = i64>) -> Cloud {
                let rows: Array1<i64> = rows.collect();
                let value = |(at, j): (usize, usize)| ((rows[at] * (2 * j as i64 + 3)) as f32).sin();
                (name, Array2::from_shape_fn((rows.len(), columns), value), rows)
            }

            fn two() -> Vec<Cloud> {
                vec![cloud("image", 7, 0..30), cloud("text", 4, 0..30)]
            }

            /// No row holds image and sound together, and a row may hold two texts.
            fn three() -> Vec<Cloud> {
                let text = (0..40).flat_map(|row| std::iter::repeat_n(row, 1 + row as usize % 2));
                vec![cloud("image", 7, 0..25), cloud("text", 4, text), cloud("sound", 5, 25..40)]
            }

            fn takes_three() -> bool {
                $name::takes().contains(3)
            }

            #[test]
            fn what_was_learned_has_the_promised_ports() {
                for clouds in [two(), three()].into_iter().take(1 + usize::from(takes_three())) {
                    let learned = fit(&clouds, &json!({})).unwrap();
                    assert_eq!((learned.maps.len(), learned.inverses.len()), (clouds.len(), clouds.len()));
                    let width = |graph: &::chiasm_plugin::graph::Graph| {
                        let output = graph.outputs().remove(0).to_string();
                        output.strip_prefix("z f32[batch,").unwrap().to_owned()
                    };
                    for (map, (name, items, _)) in learned.maps.iter().zip(&clouds) {
                        let input = map.inputs().remove(0).to_string();
                        assert_eq!(input, format!("x f32[batch,{}]", items.ncols()), "{name}");
                        assert_eq!(width(map), width(&learned.maps[0]), "{name}");
                        assert!(learned.notes["inverses"][name].is_string());
                    }
                    let again = fit(&clouds, &learned.parameters).unwrap();
                    for (first, second) in learned.maps.iter().zip(&again.maps) {
                        assert_eq!(first.to_bytes().unwrap(), second.to_bytes().unwrap());
                    }
                    assert_eq!(learned.parameters, again.parameters);
                }
                if !takes_three() {
                    assert_eq!(fit(&three(), &json!({})).unwrap_err().code(), Code::INVALID);
                }
            }

            /// The list that `plugin inspect` shows and the keys that a fit accepts must not drift apart.
            #[test]
            fn the_listed_parameters_are_the_known_ones() {
                let refusal = fit(&two(), &json!({ "no such key": 1 })).unwrap_err();
                for parameter in $name::parameters() {
                    let kind = parameter.kind.as_str();
                    assert!(::chiasm_plugin::Parameter::KINDS.contains(&kind), "{kind}");
                    assert!(refusal.message().contains(&format!("`{}`", parameter.name)), "{refusal}");
                    fit(&two(), &json!({ parameter.name.as_str(): null })).unwrap();
                }
                let named = refusal.message().matches('`').count() / 2 - 1;
                assert_eq!(named.max(1), $name::parameters().len().max(1), "{refusal}");
            }

            #[test]
            fn bad_items_are_the_users_to_mend() {
                let mut clouds = two();
                clouds[1].1[[3, 1]] = f32::NAN;
                let refusal = fit(&clouds, &json!({})).unwrap_err();
                assert_eq!(refusal.code(), Code::INVALID);
                assert!(refusal.message().contains("`text`"), "{refusal}");
                assert!(refusal.message().contains("item 3"), "{refusal}");
            }
        }
    };
}
