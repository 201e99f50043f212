SELECT crystal.i_scores.scoreid, crystal.i_scores.inspectid, crystal.i_scores.score, crystal.i_scores.scoredate, crystal.i_scores.scoredby, crystal.i_scores.imagename
FROM crystal.i_scores
WHERE crystal.i_scores.inspectid > :inspectid_1 AND (crystal.i_scores.scoredby IS NULL OR (crystal.i_scores.scoredby NOT IN (:scoredby_1_1, :scoredby_1_2))) ORDER BY crystal.i_scores.inspectid, crystal.i_scores.scoredate, crystal.i_scores.scoreid
 FETCH FIRST 1000 ROWS ONLY
-- before Oracle 12:
SELECT anon_1.scoreid, anon_1.inspectid, anon_1.score, anon_1.scoredate, anon_1.scoredby, anon_1.imagename
FROM (SELECT crystal.i_scores.scoreid AS scoreid, crystal.i_scores.inspectid AS inspectid, crystal.i_scores.score AS score, crystal.i_scores.scoredate AS scoredate, crystal.i_scores.scoredby AS scoredby, crystal.i_scores.imagename AS imagename
FROM crystal.i_scores
WHERE crystal.i_scores.inspectid > :inspectid_1 AND (crystal.i_scores.scoredby IS NULL OR (crystal.i_scores.scoredby NOT IN (:scoredby_1_1, :scoredby_1_2))) ORDER BY crystal.i_scores.inspectid, crystal.i_scores.scoredate, crystal.i_scores.scoreid) anon_1
WHERE ROWNUM <= 1000;

SELECT crystal.i_inspections.inspectid, crystal.i_inspections.barcodeid, crystal.i_inspections.inspectnumber, crystal.i_inspections.inspectdate, crystal.i_inspections.i_row, crystal.i_inspections.col, crystal.i_inspections.subwell, crystal.i_images.imagename
FROM crystal.i_inspections JOIN crystal.i_images ON crystal.i_inspections.inspectid = crystal.i_images.inspectid
WHERE (rtrim(crystal.i_images.imagename) LIKE :rtrim_1 ESCAPE '\' OR rtrim(crystal.i_images.imagename) LIKE :rtrim_2 ESCAPE '\') AND rtrim(crystal.i_images.imagename) NOT LIKE :rtrim_3 ESCAPE '\' AND crystal.i_images.inspectid IN (:inspectid_1_1) AND rtrim(crystal.i_images.imagename) NOT LIKE :rtrim_4 ESCAPE '\' ORDER BY crystal.i_images.inspectid, crystal.i_images.imagename;

SELECT crystal.i_images.inspectid, crystal.i_images.imagename
FROM crystal.i_images
WHERE crystal.i_images.inspectid IN (:inspectid_1_1) AND rtrim(crystal.i_images.imagename) LIKE :rtrim_1 ESCAPE '\' ORDER BY crystal.i_images.inspectid, crystal.i_images.imagename;

