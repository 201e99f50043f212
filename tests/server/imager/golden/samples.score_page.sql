SELECT crystal.i_scores.scoreid, crystal.i_scores.inspectid, crystal.i_scores.score, crystal.i_scores.scoredate, crystal.i_scores.scoredby, crystal.i_scores.imagename
FROM crystal.i_scores
WHERE crystal.i_scores.scoreid > :scoreid_1 ORDER BY crystal.i_scores.scoreid
 FETCH FIRST 1000 ROWS ONLY
-- before Oracle 12:
SELECT anon_1.scoreid, anon_1.inspectid, anon_1.score, anon_1.scoredate, anon_1.scoredby, anon_1.imagename
FROM (SELECT crystal.i_scores.scoreid AS scoreid, crystal.i_scores.inspectid AS inspectid, crystal.i_scores.score AS score, crystal.i_scores.scoredate AS scoredate, crystal.i_scores.scoredby AS scoredby, crystal.i_scores.imagename AS imagename
FROM crystal.i_scores
WHERE crystal.i_scores.scoreid > :scoreid_1 ORDER BY crystal.i_scores.scoreid) anon_1
WHERE ROWNUM <= 1000;

