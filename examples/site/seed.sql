-- The data of the library. It is the same on every machine, except that the latest loans are from today.

CREATE TABLE books (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    author TEXT NOT NULL,
    genre TEXT NOT NULL,
    year INTEGER NOT NULL
);

CREATE TABLE loans (
    id INTEGER PRIMARY KEY,
    book INTEGER NOT NULL REFERENCES books,
    branch TEXT NOT NULL,
    day INTEGER NOT NULL, -- since 1970
    kept INTEGER NOT NULL -- days
);

CREATE TABLE reviews (
    id INTEGER PRIMARY KEY,
    book INTEGER NOT NULL REFERENCES books,
    name TEXT NOT NULL,
    stars INTEGER NOT NULL CHECK (stars BETWEEN 1 AND 5),
    text TEXT NOT NULL,
    written INTEGER NOT NULL -- seconds since 1970
);

CREATE INDEX reviews_by_book ON reviews (book);

-- 24 adjectives and 20 nouns make 480 titles.
WITH RECURSIVE
    adjectives (n, word) AS (
        VALUES (0, 'Salt'), (1, 'Glass'), (2, 'Winter'), (3, 'Hidden'), (4, 'Copper'), (5, 'Quiet'), (6, 'Borrowed'),
        (7, 'Distant'), (8, 'Crooked'), (9, 'Paper'), (10, 'Northern'), (11, 'Burning'), (12, 'Forgotten'), (13, 'Silver'),
        (14, 'Restless'), (15, 'Hollow'), (16, 'Seventh'), (17, 'Amber'), (18, 'Drowned'), (19, 'Patient'),
        (20, 'Wandering'), (21, 'Unwritten'), (22, 'Velvet'), (23, 'Last')
    ),
    nouns (n, word) AS (
        VALUES (0, 'Lighthouse'), (1, 'Orchard'), (2, 'Cartographer'), (3, 'Garden'), (4, 'Letters'), (5, 'Harbour'),
        (6, 'Clockmaker'), (7, 'River'), (8, 'Museum'), (9, 'Apprentice'), (10, 'Mountain'), (11, 'Violin'), (12, 'Island'),
        (13, 'Archive'), (14, 'Season'), (15, 'Passage'), (16, 'Kingdom'), (17, 'Lantern'), (18, 'Bridge'), (19, 'Winters')
    ),
    first_names (n, word) AS (
        VALUES (0, 'Ada'), (1, 'Bruno'), (2, 'Clara'), (3, 'Dmitri'), (4, 'Esther'), (5, 'Farid'), (6, 'Greta'), (7, 'Hugo'),
        (8, 'Ines'), (9, 'Jonas'), (10, 'Kirsten'), (11, 'Leo'), (12, 'Mira')
    ),
    last_names (n, word) AS (
        VALUES (0, 'Albrecht'), (1, 'Bergström'), (2, 'Castellano'), (3, 'Dubois'), (4, 'Eriksen'), (5, 'Fontaine'),
        (6, 'Grimaldi'), (7, 'Hartmann'), (8, 'Iwanow'), (9, 'Jansen'), (10, 'Kowalski')
    ),
    genres (n, word) AS (
        VALUES (0, 'Novels'), (1, 'Crime'), (2, 'Travel'), (3, 'History'), (4, 'Poetry'), (5, 'Science'), (6, 'Fantasy')
    )
INSERT INTO books
SELECT
    1 + adjectives.n * 20 + nouns.n,
    'The ' || adjectives.word || ' ' || nouns.word,
    first_names.word || ' ' || last_names.word,
    genres.word,
    1950 + (adjectives.n * 31 + nouns.n * 17) % 75
FROM adjectives
JOIN nouns
JOIN first_names ON first_names.n = (adjectives.n * 5 + nouns.n * 3) % 13
JOIN last_names ON last_names.n = (adjectives.n * 7 + nouns.n * 2) % 11
JOIN genres ON genres.n = (adjectives.n * 3 + nouns.n * 5) % 7;

-- 200,000 loans in two years. Random numbers are from a Lehmer generator with the factor 48,271.
WITH RECURSIVE
    dice (n, x) AS (
        VALUES (1, 20011)
        UNION ALL
        SELECT n + 1, x * 48271 % 2147483647 FROM dice WHERE n < 200000
    ),
    branches (n, name) AS (
        VALUES (0, 'Harbour'), (1, 'Old Town'), (2, 'Hillside'), (3, 'University'), (4, 'Riverbank'), (5, 'Station')
    ),
    thrown (n, place, day, branch, is_local, is_late) AS (
        SELECT n, x / 2147483647.0, x % 730, x / 5 % 6, x / 30 % 3 > 0, x / 90 % 3 = 0 FROM dice
    )
INSERT INTO loans
SELECT
    thrown.n,
    -- Few books are borrowed often. 277 is coprime to 480 and scatters these over the catalogue. Two
    -- thirds of the loans follow the preferences of their branch.
    1 + (CAST(480 * place * place AS INTEGER) * 277 + is_local * branch * 83) % 480,
    branches.name,
    -- A third of the loans are concentrated at the end of their year.
    unixepoch('now') / 86400 - (day - is_late * (day % 365 - day % 365 * (day % 365) / 365)),
    1 + (thrown.n * 31 + branch * branch + day) % (30 + 2 * branch)
FROM thrown
JOIN branches ON branches.n = branch;

WITH RECURSIVE
    dice (n, x) AS (
        VALUES (1, 777)
        UNION ALL
        SELECT n + 1, x * 48271 % 2147483647 FROM dice WHERE n < 1500
    ),
    words (n, name, text) AS (
        VALUES (0, 'Noor', 'I missed my stop twice. Worth it both times.'),
        (1, 'Tomasz', 'A slow beginning, and an ending that I have been thinking about since.'),
        (2, 'Beatriz', 'My book club argued about the last chapter until midnight.'),
        (3, 'Edith', 'Beautifully made sentences, and not one too many.'),
        (4, 'Sanjay', 'Not for me, but I can see why the shelf is always empty.'),
        (5, 'Wiebke', 'Borrowed it, returned it, bought it.'),
        (6, 'Marcel', 'The map in the front is half the pleasure.'),
        (7, 'Aino', 'Read it by the sea if you can.')
    )
INSERT INTO reviews (book, name, stars, text, written)
SELECT 1 + x % 480, words.name, min(5, 2 + x / 480 % 4), words.text, unixepoch('now') - x / 7 % 31536000
FROM dice
JOIN words ON words.n = x / 11 % 8;
