-- How somebody sees the pages: their time zone and theme; empty for those of the browser.

ALTER TABLE {prefix}users {add} zone {word};

ALTER TABLE {prefix}users {add} theme {word};
