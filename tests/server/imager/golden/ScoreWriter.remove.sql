DELETE FROM crystal.i_scores WHERE crystal.i_scores.scoreid = :scoreid_1 AND crystal.i_scores.scoredby = :scoredby_1;

