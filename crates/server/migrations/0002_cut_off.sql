-- What a connector says is going on (NULL while readiness reports are switched off), and since when its user is cut off because of its
-- version (NULL: is not).
ALTER TABLE seats ADD COLUMN detail TEXT;
ALTER TABLE seats ADD COLUMN cut_off_since INTEGER;
