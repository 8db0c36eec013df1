//! The front page. It counts 200,000 loans four times, and is cached by the layer of the site.

use std::time::Instant;

use axum::extract::State;
use minijinja::context;

use super::View;
use crate::site::Site;

pub(crate) async fn show(State(Site { library, templates, .. }): State<Site>) -> View {
    let start = Instant::now();
    let (books, loans) = library.size().await?;
    let (months, genres) = (library.by_month().await?, library.by_genre().await?);
    let content = context! {
        books, loans,
        busiest => months.iter().map(|month| month.count).max(),
        largest => genres.first().map(|genre| genre.count),
        months, genres,
        most_borrowed => library.most_borrowed().await?,
        favourites => library.favourites().await?,
    };
    Ok(templates.page("home.html", start, content)?)
}
