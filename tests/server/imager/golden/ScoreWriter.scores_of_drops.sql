SELECT i_inspections_1.inspectid AS asked, crystal.i_scores.scoreid, crystal.i_scores.inspectid, crystal.i_scores.score, crystal.i_scores.scoredate, crystal.i_scores.scoredby, crystal.i_scores.imagename
FROM crystal.i_inspections i_inspections_1 JOIN crystal.i_inspections i_inspections_2 ON i_inspections_1.barcodeid = i_inspections_2.barcodeid AND i_inspections_1.col = i_inspections_2.col AND i_inspections_1.i_row = i_inspections_2.i_row AND i_inspections_1.subwell = i_inspections_2.subwell JOIN crystal.i_scores ON crystal.i_scores.inspectid = i_inspections_2.inspectid
WHERE i_inspections_1.inspectid IN (:inspectid_1_1, :inspectid_1_2) ORDER BY crystal.i_scores.scoredate, crystal.i_scores.scoreid;

